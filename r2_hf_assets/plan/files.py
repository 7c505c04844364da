"""Files in the state store, a folder or S3: the plan's and build records, each created once or overwritten whole.

`create` is exclusive (S3: If-None-Match, folder: a hard link). Every call is idempotent: when the response to a create
was lost, the retry returns False and the caller compares the existing file.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, PreconditionError

from r2_hf_assets.bucket.client import NOT_FOUND, Store, call_with_retry, folder_of
from r2_hf_assets.disk import on_disk, remove_torn_writes, sync
from r2_hf_assets.plan.chunks import damaged
from r2_hf_assets.retry import Retry, T


@dataclass(frozen=True)
class StateFiles:
    """Paths are relative to the store, e.g. plan/en/chunk_0007.json.

    Every method raises DiskError, AccessError or RetriesExhausted when the store can't be read or written.
    """

    store: Store
    retry: Retry

    def list_paths(self, prefix: str) -> list[str]:
        return self._call(
            f"listing {prefix}", lambda: [item["path"] for batch in obstore.list(self.store, prefix) for item in batch]
        )

    def read(self, path: str) -> bytes | None:
        """Return a file's bytes; None when it does not exist."""
        try:
            return self._call(f"reading {path}", lambda: bytes(obstore.get(self.store, path).bytes()))
        except NOT_FOUND:
            return None

    def read_json(self, path: str) -> dict[str, Any] | None:
        """Return the JSON object in a file; None when the file does not exist. Raises PlanError for a damaged one."""
        data = self.read(path)
        if data is None:
            return None
        try:
            content = json.loads(data)
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise damaged(path)
        return content

    def read_log(self, name: str, first: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the numbers and JSON objects of a log's entries, from the entry `first` on."""
        while (entry := self.read_json(f"{name}_{first:04d}.json")) is not None:
            yield first, entry
            first += 1

    def append(self, name: str, number: int, entry: object) -> bool:
        """Create and sync an entry of a log; return False when its number exists, perhaps as this same one."""
        path = f"{name}_{number:04d}.json"
        created = self.create(path, json.dumps(entry, indent=0).encode())
        self.sync([path])
        return created

    def create(self, path: str, data: bytes) -> bool:
        """Create a file; return False when it exists."""
        try:
            self._call(f"creating {path}", lambda: obstore.put(self.store, path, data, mode="create"))
        except (AlreadyExistsError, PreconditionError):
            return False
        return True

    def overwrite(self, path: str, data: bytes) -> None:
        self._call(f"writing {path}", lambda: obstore.put(self.store, path, data))

    def _call(self, what: str, function: Callable[[], T]) -> T:
        return call_with_retry(self.retry, what, function, self.store)

    def sync(self, paths: Iterable[str]) -> None:
        """Flush files in a folder to the disk, so that they survive a power loss."""
        if folder := folder_of(self.store):
            with on_disk(folder):
                sync(folder / path for path in paths)

    def sweep(self) -> None:
        """Remove temporary files that killed writers left in a folder."""
        if folder := folder_of(self.store):
            for names in ("plan/**/*#*", "builds/**/*#*"):
                remove_torn_writes(folder, names)
