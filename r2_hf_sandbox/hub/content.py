"""The content of the local Hub's files: uploaded over LFS or Xet, or sent within a commit.

`lfs/` holds whole files by sha256, checked on arrival. `blobs/` holds git blobs by git oid. A file uploaded over Xet
exists as chunks, which Xet clients fetch; the first plain read writes it to `lfs/` through the real hf_xet client.
"""

import hashlib
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from pathlib import Path

from r2_hf_sandbox.hub.disk import HubRefusal, git_blob_oid, publish, temporary_beside, write_whole
from r2_hf_sandbox.hub.history import RepoFile
from r2_hf_sandbox.hub.xet import XetStore
from r2_hf_sandbox.hub.xet_shards import XetFile


class Content:
    """Content by address. The Xet client of this process reads the CAS routes by `cas_url` and `cas_token`."""

    def __init__(self, folder: Path, xet: XetStore, cas_url: str, cas_token: Callable[[], str]) -> None:
        self.folder, self.xet = folder, xet
        self._cas_url, self._cas_token = cas_url, cas_token
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def lfs_path(self, sha256: str) -> Path:
        return self.folder / "lfs" / sha256[:2] / sha256

    def size_of(self, sha256: str) -> int | None:
        """Return the size of the large file with this sha256, or None if it was never uploaded."""
        if self.lfs_path(sha256).exists():
            return self.lfs_path(sha256).stat().st_size
        file = self.xet.file_of_sha256(sha256)
        return file.size if file else None

    def put_blob(self, content: bytes) -> str:
        oid = git_blob_oid(content)
        write_whole(self._blob_path(oid), content)
        return oid

    def put_lfs(self, temporary: Path, sha256: str, size: int | None) -> None:
        """Store an uploaded file.

        Raises:
            HubRefusal: 400, its sha256 or size differs.
        """
        actual, actual_size = _digest(temporary)
        if actual != sha256 or size not in (None, actual_size):
            temporary.unlink()
            raise HubRefusal(400, f"the content uploaded is not {sha256} ({size} bytes), but {actual} ({actual_size})")
        path = self.lfs_path(sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        publish(temporary, path)

    def delete(self, sha256s: Collection[str]) -> None:
        """Remove files for good. A repeated call completes one that was killed."""
        self.xet.delete(sha256s)
        for sha256 in sha256s:
            with self._locks[sha256]:
                self.lfs_path(sha256).unlink(missing_ok=True)
            for parts in self.parts_of(sha256).parent.glob(f"{sha256}-*"):  # of uploads that were never completed
                shutil.rmtree(parts, ignore_errors=True)

    def parts_of(self, sha256: str, upload_id: str = "") -> Path:
        """Return the folder of a multipart upload."""
        return self.folder / "lfs-parts" / f"{sha256}-{upload_id}"

    def path_of(self, file: RepoFile) -> Path:
        """Return the path of a whole file with this content, written from Xet chunks if needed."""
        if file.sha256 is None:
            return self._blob_path(file.oid)
        path = self.lfs_path(file.sha256)
        with self._locks[file.sha256]:
            if not path.exists():
                stored = self.xet.file_of_sha256(file.sha256)
                if stored is None:
                    raise HubRefusal(500, f"the content of {file.path} is lost")
                temporary = temporary_beside(path)
                self._assemble(stored, temporary)
                self.put_lfs(temporary, file.sha256, file.size)
        return path

    def _blob_path(self, oid: str) -> Path:
        return self.folder / "blobs" / oid[:2] / oid

    def _assemble(self, file: XetFile, path: Path) -> None:
        import hf_xet  # 30 MB of native code, for plain reads of Xet files only

        group = hf_xet.XetSession().new_file_download_group(
            endpoint=self._cas_url, token=self._cas_token(), token_expiry_unix_secs=int(time.time()) + 3600
        )
        with group:
            group.start_download_file(hf_xet.XetFileInfo(file.hash, file.size), str(path))


def _digest(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
