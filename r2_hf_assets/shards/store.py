"""Where built shards wait for their commit: a local folder, or S3 when another machine may commit them.

Files are built in a private folder under .building/ and published under their names; the record comes last, so a chunk
without a record is not built. A building folder is held by a file lock, which the kernel lets go when its process
dies: whoever builds next removes the folders that nobody holds. Names are made from partitions alone, never from the
bucket.

Local files are not fsynced: a host that crashes may lose them, the commit then finds that the hash differs and says
to build again.
"""

import fcntl
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import obstore

from r2_hf_assets import activity
from r2_hf_assets.bucket.client import NOT_FOUND, Store, ask, open_store
from r2_hf_assets.disk import on_disk, sweep_torn_writes
from r2_hf_assets.errors import ShardError
from r2_hf_assets.retry import Retry, default_retry
from r2_hf_assets.settings import BucketSettings, ShardSettings
from r2_hf_assets.shards.build import Build
from r2_hf_assets.shards.names import record_name, stem
from r2_hf_assets.shards.record import BuildRecord, ShardFile, decode, encode

_BUILDING = ".building"
# A folder is locked right after it is made; one without a lock after a minute lost its maker.
_UNLOCKED_SECONDS = 60
_READERS = 32


@dataclass(frozen=True)
class ShardStore:
    """Publishes, finds and discards the files of chunks. `local` is None when they lie on S3."""

    store: Store
    local: Path | None
    scratch: Path
    keep: bool
    retry: Retry = field(default_factory=default_retry)

    @contextmanager
    def building(self) -> Iterator[Path]:
        """An empty private folder that is gone afterwards, whatever happens; sweeps those of the dead.

        Raises:
            DiskError: the disk can't do what is asked of it there.
        """
        with on_disk(self.scratch.absolute()), self._private_folder() as folder:
            yield folder

    @contextmanager
    def _private_folder(self) -> Iterator[Path]:
        root = self.scratch / _BUILDING
        with on_disk(self.scratch.absolute()):
            root.mkdir(parents=True, exist_ok=True)
            _sweep(root)
            folder, lock = _locked_folder(root)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.close()

    def publish(self, build: Build) -> None:
        """Make a build visible: files first, the record last, then drop what an earlier build left over."""
        before = self._readable(build.record.language, build.record.number)
        record = build.record if before is None else _after(before, build.record)
        # An equal record may stay: the same bytes take the place of the same bytes, and a run that commits them is
        # not disturbed.
        if before is None:
            self._delete(f"{record.language}/{record_name(record.number)}")
        elif before != record:
            # Nothing is built from here on; but what may be on the Hub stays known, if this ends in between.
            self._write(f"{record.language}/{record_name(record.number)}", encode(_unbuilt(before)))
        for part, file in zip(build.parts, record.files, strict=True):
            self._put(part.path, f"{record.language}/{file.name}")
        if build.rejects_path and record.rejects:
            self._put(build.rejects_path, f"{record.language}/{record.rejects.name}")
        self._write(f"{record.language}/{record_name(record.number)}", encode(record))
        wanted = {record_name(record.number), *(file.name for file in (*record.files, record.rejects) if file)}
        for name in self._names(record.language, record.number) - wanted:
            self._delete(f"{record.language}/{name}")
        if self.local is not None:
            sweep_torn_writes(self.local / record.language, f"{record_name(record.number)}#*")

    def record(self, language: str, number: int) -> BuildRecord | None:
        """The record of a built chunk; None when it is not built."""
        found = self._stored(language, number)
        return found if found is not None and found.digest else None

    def _stored(self, language: str, number: int) -> BuildRecord | None:
        """The same; also one of no build (see `_unbuilt`)."""
        path = f"{language}/{record_name(number)}"
        try:
            data = ask(self.retry, f"reading {path}", lambda: bytes(obstore.get(self.store, path).bytes()), self.store)
        except NOT_FOUND:
            return None
        return decode(data)

    def waiting(self, language: str, number: int, digest: str) -> BuildRecord | None:
        """The record of a build of this chunk whose files are all there, so that nothing need be built again."""
        record = self._readable(language, number)
        if record is None or record.digest != digest or not record.verdicts:
            return None
        whole = all(self._size(f"{language}/{file.name}") == file.size for file in record.files)
        return record if whole else None

    def _size(self, name: str) -> int | None:
        try:
            # A GET whose body is not read: the 404 of a HEAD has no body, so it can't say what is missing.
            return ask(self.retry, f"GET {name}", lambda: obstore.get(self.store, name).meta["size"], self.store)
        except NOT_FOUND:
            return None

    def built_sha256(self, names: Collection[tuple[str, int]]) -> dict[tuple[str, int], frozenset[str]]:
        """SHA-256 of every file that was built here of these chunks: one may be on the Hub that no history names."""
        return {name: record.sha256s for name, record in self._readable_of(names)}

    def readable_records(self, names: Collection[tuple[str, int]]) -> dict[tuple[str, int], BuildRecord]:
        """The records of those of several chunks that are built; a damaged one counts as lost."""
        return {name: record for name, record in self._readable_of(names) if record.digest}

    def _readable_of(self, names: Collection[tuple[str, int]]) -> Iterator[tuple[tuple[str, int], BuildRecord]]:
        """Read side by side."""
        with ThreadPoolExecutor(_READERS) as pool:
            found = pool.map(lambda name: self._readable(*name), names)
            yield from ((name, record) for name, record in zip(names, found, strict=True) if record)

    def _readable(self, language: str, number: int) -> BuildRecord | None:
        try:
            return self._stored(language, number)
        except ShardError:
            return None  # a damaged record is mended by building again

    @contextmanager
    def files(self, language: str, files: tuple[ShardFile, ...]) -> Iterator[dict[str, Path]]:
        """Local paths of shards by name, for an upload; those on S3 are brought here for so long.

        Raises:
            ShardError: a file is not there; says to build again.
        """
        if self.local is not None:
            yield {file.name: _present(self.local / language / file.name, file) for file in files}
            return
        with self._private_folder() as folder:
            with on_disk(self.scratch.absolute()):
                paths = {f.name: self._download(f"{language}/{f.name}", folder / f.name, f) for f in files}
            yield paths  # what fails from here on is the upload's, and may be another folder's trouble

    def discard(self, record: BuildRecord) -> None:
        """Remove shards that are safe on the Hub; the record and the ledger stay. KEEP_SHARDS=1 keeps them too."""
        if not self.keep:
            self.drop(record)

    def drop(self, record: BuildRecord) -> None:
        """Remove shards, so that they don't wait for a commit: the next run builds them again. The record stays."""
        for file in record.files:
            self._delete(f"{record.language}/{file.name}")

    def uri(self, language: str, name: str) -> str:
        """Where a file lies, for people."""
        if self.local is not None:
            return str((self.local / language / name).resolve())
        return f"s3://{self.store.config['bucket']}/{self.store.prefix or ''}/{language}/{name}"

    def _names(self, language: str, number: int) -> set[str]:
        folder = f"{language}/"
        found = ask(
            self.retry, f"listing {folder}", lambda: obstore.list_with_delimiter(self.store, folder), self.store
        )
        names = {item["path"].rsplit("/", 1)[-1] for item in found["objects"]}
        return {name for name in names if name.startswith((f"{stem(number)}.", f"{stem(number)}-"))}

    def _put(self, path: Path, name: str) -> None:
        if self.local is not None:
            target = self.local / name
            with on_disk(self.local):
                target.parent.mkdir(exist_ok=True)
                path.replace(target)
            return

        def put() -> None:
            with path.open("rb") as file:
                obstore.put(self.store, name, activity.Sent(file))

        # obstore splits large files into equal parts, as R2 wants them; repeating a PUT overwrites the same bytes.
        ask(self.retry, f"writing {name}", put)

    def _write(self, name: str, data: bytes) -> None:
        ask(self.retry, f"writing {name}", lambda: obstore.put(self.store, name, data), self.store)

    def _delete(self, name: str) -> None:
        def delete() -> None:
            with suppress(*NOT_FOUND):
                obstore.delete(self.store, name)

        ask(self.retry, f"deleting {name}", delete, self.store)

    def _download(self, name: str, target: Path, file: ShardFile) -> Path:
        def download() -> None:
            with target.open("wb") as out:
                for chunk in obstore.get(self.store, name).stream(min_chunk_size=8 * 2**20):
                    activity.advance()
                    out.write(chunk)

        try:
            ask(self.retry, f"reading {name}", download)
        except NOT_FOUND:
            raise _absent(file) from None
        return _present(target, file)


def open_shards(limits: ShardSettings, r2: BucketSettings | None) -> ShardStore:
    """The shard store that SHARD_URL names."""
    local = None if urlsplit(limits.shard_url).scheme == "s3" else Path(limits.shard_url)
    store = open_store(limits.shard_url, r2)
    return ShardStore(store, local, local or Path(limits.scratch), limits.keep)


def _locked_folder(root: Path) -> tuple[Path, IO[str]]:
    """A new folder and its held lock. Another process may sweep it before it is locked: then make a new one."""
    while True:
        folder = Path(tempfile.mkdtemp(dir=root))
        lock = (folder / "lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "lock").exists():
            return folder, lock
        lock.close()


def _sweep(root: Path) -> None:
    """Remove building folders whose process is dead: their lock is free, or was never made and they are old."""
    for folder in root.iterdir():
        try:
            with (folder / "lock").open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            continue  # somebody builds there
        except FileNotFoundError:
            if folder.exists() and time.time() - folder.stat().st_mtime > _UNLOCKED_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def _unbuilt(before: BuildRecord) -> BuildRecord:
    """A record of no build, which remembers what the builds so far may have left on the Hub."""
    earlier = dict.fromkeys((*before.earlier, *(file.sha256 for file in before.files)))
    return replace(before, digest="", files=(), rejects=None, earlier=tuple(earlier))


def _after(before: BuildRecord, record: BuildRecord) -> BuildRecord:
    """A record that remembers the same."""
    now = {file.sha256 for file in record.files}
    return replace(record, earlier=tuple(sha256 for sha256 in _unbuilt(before).earlier if sha256 not in now))


def _absent(file: ShardFile) -> ShardError:
    return ShardError(f"shard {file.name} is recorded as built but is not there; materialize parquet_shards again")


def _present(path: Path, file: ShardFile) -> Path:
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise _absent(file) from None
    if size != file.size:
        raise ShardError(
            f"shard {file.name} has {size} bytes, {file.size} were built; materialize parquet_shards again"
        )
    return path
