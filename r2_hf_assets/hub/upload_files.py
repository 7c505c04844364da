"""Upload parts over LFS, which needs a file's hash before its first byte: one scratch file at a time.

With KEEP_SHARDS the files stay until the last one is uploaded, and then replace those of the earlier build in the
folder of kept files.

hf_transfer (huggingface_hub 0.36 with HF_HUB_ENABLE_HF_TRANSFER=1) runs in a child process, which can be killed: its
upload (0.1.9) has no timeout and holds the GIL, so no thread could end it or send the run's heartbeat. It sends all
parts at once and reports no progress, so its timeout allows for a slow line.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from r2_hf_assets import activity
from r2_hf_assets.disk import on_disk, scratch_folder
from r2_hf_assets.errors import ShardError
from r2_hf_assets.hub.client import LFS_ATTRIBUTES, REPO_TYPE, HubClient
from r2_hf_assets.hub.errors import TransferFailed
from r2_hf_assets.settings import ShardSettings
from r2_hf_assets.shards.names import part_name, path_in_repo, shard_names, stem
from r2_hf_assets.shards.writer import Content, PartUpload, Upload

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd

# hf_transfer's timeout. Slower lines need HF_HUB_ENABLE_HF_TRANSFER unset.
_SLOWEST_BYTES_PER_S = 100_000
_LEAST_S = 420.0
# Linux kills the child with the thread that started it (PR_SET_PDEATHSIG, SIGKILL). stdin carries the URLs, which are
# signed: the process list shows arguments.
_CHILD = """
import contextlib, ctypes, json, sys
with contextlib.suppress(AttributeError):
    ctypes.CDLL(None).prctl(1, 9)
import hf_transfer
print(json.dumps(hf_transfer.multipart_upload(**json.load(sys.stdin))))
"""


@contextmanager
def open_files(repo: HubClient, limits: ShardSettings, language: str, number: int) -> Iterator[Upload]:
    """Open an upload of several files in sequence."""
    from huggingface_hub import constants

    if getattr(constants, "HF_HUB_ENABLE_HF_TRANSFER", False):  # 0.36 has it
        import hf_transfer  # type: ignore[import-untyped]

        hf_transfer.multipart_upload = _upload_in_child
    scratch = Path(limits.scratch).absolute()
    with scratch_folder(scratch, f"{language}-{stem(number)}-") as folder, ExitStack() as opened:
        upload = _FileUpload(repo, folder, limits.keep, language, number, opened)
        yield upload
        if limits.keep:
            _move(upload.files, Path(limits.kept_folder) / language, number)


def _move(files: Sequence[Path], kept: Path, number: int) -> None:
    """Rename the parts and the index into the folder of kept files, and remove other files of this chunk there."""
    names = [*shard_names(number, len(files) - 1), f"{stem(number)}.index.parquet"]
    with on_disk(kept.absolute()):
        kept.mkdir(parents=True, exist_ok=True)
        for path, name in zip(files, names, strict=True):
            path.rename(kept / name)
        for old in kept.glob(f"{stem(number)}[.-]*"):
            if old.name not in names:
                old.unlink()


@dataclass(frozen=True)
class _FileUpload:
    """Uploads parts from `files` in `folder`. `opened` closes the last one after an error."""

    repo: HubClient
    folder: Path
    keep: bool
    language: str
    number: int
    opened: ExitStack
    files: list[Path] = field(default_factory=list)

    def begin(self) -> PartUpload:
        path = self.folder / f"part-{len(self.files):02d}"
        with on_disk(self.folder.parent):
            file = self.opened.enter_context(path.open("wb"))
        self.files.append(path)
        return _FilePart(self, file, path)


@dataclass
class _FilePart:
    upload: _FileUpload
    file: IO[bytes]
    path: Path

    def write(self, data: bytes) -> None:
        with on_disk(self.upload.folder.parent):
            self.file.write(data)

    def finish(self) -> Content:
        repo = self.upload.repo
        with on_disk(self.upload.folder.parent):
            self.file.close()
        sent = repo.call_with_retry("upload to", self._send)
        if getattr(sent, "_upload_mode", "lfs") != "lfs":
            raise ShardError(f"{repo.repo_id} keeps Parquet files out of LFS; add `{LFS_ATTRIBUTES}` to .gitattributes")
        if not self.upload.keep:
            self.path.unlink()
        return Content(sent.upload_info.size, sent.upload_info.sha256.hex())

    def _send(self) -> "CommitOperationAdd":
        """Upload the file. Idempotent: content that the Hub stores is not sent again."""
        from huggingface_hub import CommitOperationAdd, constants

        # The final name depends on the number of parts; .gitattributes applies to all of them alike.
        path = path_in_repo(self.upload.language, part_name(self.upload.number, 0))
        operation, repo = CommitOperationAdd(path, str(self.path)), self.upload.repo
        # LFS requests have timeouts (timeouts.py), requests of the library's Xet session have none.
        before, constants.HF_HUB_DISABLE_XET = constants.HF_HUB_DISABLE_XET, True
        try:
            repo.api.preupload_lfs_files(repo.repo_id, [operation], repo_type=REPO_TYPE, free_memory=False)
        finally:
            constants.HF_HUB_DISABLE_XET = before
        return operation


def _upload_in_child(
    file_path: str, *, parts_urls: Sequence[str], callback: Callable[[int], object] | None = None, **options: object
) -> list[dict[str, str]]:
    """Upload a file in parts, return the headers of each response: a replacement of hf_transfer.multipart_upload."""
    size = Path(file_path).stat().st_size
    limit_s = _LEAST_S + size / _SLOWEST_BYTES_PER_S
    activity.advance(limit_s)
    arguments = json.dumps({"file_path": file_path, "parts_urls": list(parts_urls), **options})
    command = [sys.executable, "-c", _CHILD]
    try:
        child = subprocess.run(command, input=arguments, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"hf_transfer timed out after {limit_s:.0f} s") from None
    if child.returncode:
        raise TransferFailed((child.stderr.splitlines() or ["hf_transfer failed"])[-1])
    if callback:
        callback(size)
    headers: list[dict[str, str]] = json.loads(child.stdout)
    return headers
