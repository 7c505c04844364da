"""The plan's files: JSON objects in a folder or on S3, each created once or overwritten whole.

`create` is exclusive (S3: If-None-Match, folder: a hard link). Every call may be repeated: a file that was created and
whose answer was lost is then there already, and the caller compares what it finds.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, PreconditionError

from r2_hf_assets.bucket.client import NOT_FOUND, Store, call_with_retry, folder_of
from r2_hf_assets.disk import on_disk, remove_torn_writes, sync
from r2_hf_assets.plan.chunks import damaged
from r2_hf_assets.retry import Retry


@dataclass(frozen=True)
class PlanFiles:
    """Reads and writes the files of one plan. A path is below the store, e.g. plan/en/chunk_0007.json.

    Every method raises DiskError, AccessError or RetriesExhausted when the store can't be read or written.
    """

    store: Store
    retry: Retry

    def list_paths(self, prefix: str) -> list[str]:
        """Paths of all files below `prefix`."""

        def list_all() -> list[str]:
            return [item["path"] for batch in obstore.list(self.store, prefix) for item in batch]

        return call_with_retry(self.retry, f"listing {prefix}", list_all, self.store)

    def read(self, path: str) -> bytes | None:
        """The bytes of a file; None when there is no such file."""
        try:
            return call_with_retry(
                self.retry, f"reading {path}", lambda: bytes(obstore.get(self.store, path).bytes()), self.store
            )
        except NOT_FOUND:
            return None

    def read_json(self, path: str) -> dict[str, Any] | None:
        """The JSON object in a file; None when there is no such file. A damaged one is a PlanError."""
        data = self.read(path)
        if data is None:
            return None
        try:
            found = json.loads(data)
        except (ValueError, RecursionError):
            raise damaged(path) from None
        if not isinstance(found, dict):
            raise damaged(path)
        return found

    def create(self, path: str, data: bytes) -> bool:
        """Write a file that does not exist yet. False when it does."""
        try:
            call_with_retry(
                self.retry, f"creating {path}", lambda: obstore.put(self.store, path, data, mode="create"), self.store
            )
        except (AlreadyExistsError, PreconditionError):
            return False
        return True

    def overwrite(self, path: str, data: bytes) -> None:
        """Write a file, whether it exists or not."""
        call_with_retry(self.retry, f"writing {path}", lambda: obstore.put(self.store, path, data), self.store)

    def delete(self, path: str) -> None:
        """Delete a file, if there is one."""
        with suppress(*NOT_FOUND):
            call_with_retry(self.retry, f"deleting {path}", lambda: obstore.delete(self.store, path), self.store)

    def sync(self, paths: Iterable[str]) -> None:
        """Flush files to the disk: a host that loses power keeps them. On S3 there is nothing to do."""
        if folder := folder_of(self.store):
            with on_disk(folder):
                sync(folder / path for path in paths)

    def sweep(self) -> None:
        """Remove what writers that were killed left in a folder."""
        if folder := folder_of(self.store):
            for names in ("plan/**/*#*", "builds/**/*#*"):
                remove_torn_writes(folder, names)
