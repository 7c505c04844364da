"""Uploads over LFS, which wants a file's hash before its first byte: a part is written to a scratch file, uploaded by
huggingface_hub, and removed before the next one begins.

With KEEP_SHARDS the files stay until the last one is on the Hub, and then take their places in the folder where they
are kept. A scratch file is locked as long as its process needs it; the next upload removes those that nobody holds.
"""

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from r2_hf_assets.disk import on_disk, stale
from r2_hf_assets.errors import ShardError
from r2_hf_assets.hub.client import BRANCH, LFS_ATTRIBUTES, REPO_TYPE, HubClient, lfs_only
from r2_hf_assets.hub.commit import ask
from r2_hf_assets.hub.hf_transfer_child import use_a_child
from r2_hf_assets.retry import Retry
from r2_hf_assets.settings import ShardSettings
from r2_hf_assets.shards.names import part_name, path_in_repo, shard_names, stem
from r2_hf_assets.shards.writer import Content, PartUpload, Upload

# A scratch file is locked right after it is made; one without a lock after a minute lost its process.
_UNLOCKED_S = 60.0


@contextmanager
def open_files(
    repo: HubClient,
    limits: ShardSettings,
    language: str,
    number: int,
    retry: Retry | None,
    log: Callable[[str], None] | None,
) -> Iterator[Upload]:
    """An upload of several files, one after the other."""
    use_a_child()
    scratch = Path(limits.scratch)
    with on_disk(scratch.absolute()):
        scratch.mkdir(parents=True, exist_ok=True)
    upload = _FileUpload(repo, scratch, language, number, limits.keep, retry, log)
    with upload.held:
        yield upload
        if limits.keep:
            upload.put_into(Path(limits.kept) / language)


@dataclass
class _FileUpload:
    """Parts by way of files. `held` closes and removes what is left of them."""

    repo: HubClient
    scratch: Path
    language: str
    number: int
    keep: bool
    retry: Retry | None
    log: Callable[[str], None] | None
    held: ExitStack = field(default_factory=ExitStack)
    files: list[Path] = field(default_factory=list)

    def begin(self) -> PartUpload:
        with on_disk(self.scratch.absolute()):
            descriptor, name = tempfile.mkstemp(dir=self.scratch, prefix=f"{self.language}-{stem(self.number)}-")
            os.fchmod(descriptor, 0o644)  # it may be kept
        file, path = self.held.enter_context(os.fdopen(descriptor, "wb")), Path(name)
        fcntl.flock(file, fcntl.LOCK_EX)
        self.held.callback(path.unlink, missing_ok=True)
        self.files.append(path)
        return _FilePart(self, file, path)

    def put_into(self, folder: Path) -> None:
        """Give the files their names, and remove those of an earlier build that are ours no more."""
        names = shard_names(self.number, len(self.files))
        with on_disk(folder.absolute()):
            folder.mkdir(parents=True, exist_ok=True)
            for path, name in zip(self.files, names, strict=True):
                path.rename(folder / name)
            for old in folder.glob(f"{stem(self.number)}[.-]*"):
                if old.name not in names:
                    old.unlink()


@dataclass
class _FilePart:
    upload: _FileUpload
    file: Any
    path: Path

    def write(self, data: bytes) -> None:
        with on_disk(self.upload.scratch.absolute()):
            self.file.write(data)

    def finish(self) -> Content:
        from huggingface_hub import CommitOperationAdd

        repo, language, number = self.upload.repo, self.upload.language, self.upload.number
        with on_disk(self.upload.scratch.absolute()):
            self.file.flush()

        def send() -> Any:
            # The number of parts may change its name; what .gitattributes say of it is the same.
            path = path_in_repo(language, part_name(number, 0))
            operation = CommitOperationAdd(path_in_repo=path, path_or_fileobj=str(self.path))
            with lfs_only():
                repo.api.preupload_lfs_files(
                    repo.repo_id, [operation], repo_type=REPO_TYPE, revision=BRANCH, free_memory=False
                )
            return operation

        # Repeating it is safe: content that is there is not sent again.
        sent = ask(repo, "upload to", send, self.upload.retry, self.upload.log)
        if getattr(sent, "_upload_mode", "lfs") != "lfs":
            raise ShardError(
                f"{repo.repo_id} keeps Parquet files out of LFS; add `{LFS_ATTRIBUTES}` to its .gitattributes and "
                "run again"
            )
        if not self.upload.keep:
            self.path.unlink()
            self.file.close()
        return Content(sent.upload_info.size, sent.upload_info.sha256.hex())


def sweep(limits: ShardSettings) -> None:
    """Remove the scratch files of killed uploads: nobody holds their lock, and they are older than a minute."""
    scratch = Path(limits.scratch)
    for path in stale(scratch.iterdir() if scratch.is_dir() else (), _UNLOCKED_S):
        if not path.is_file():
            continue
        with suppress(OSError), path.open("rb") as file:  # of another user, in use, or gone just now
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
