"""Build records, stored beside the plan: the files that each chunk's latest build uploaded.

The record is written last, so a chunk without one is not built. A commit needs nothing else: with the plan on S3, any
machine can commit what another one built.
"""

from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from r2_hf_assets.bucket.client import open_store
from r2_hf_assets.errors import ShardError
from r2_hf_assets.plan.chunks import Name
from r2_hf_assets.plan.files import StateFiles
from r2_hf_assets.retry import default_retry
from r2_hf_assets.settings import BucketSettings, PlanSettings
from r2_hf_assets.shards.names import record_name
from r2_hf_assets.shards.record import BuildRecord, decode, encode, sha256s_in

_FOLDER = "builds"
_READERS = 32


@dataclass(frozen=True)
class BuildStore:
    """Build records."""

    files: StateFiles

    def write(self, record: BuildRecord) -> None:
        """Store a build's record, which keeps the SHA-256 of earlier builds."""
        earlier = sha256s_in(self._data(record.name)) - record.sha256s
        record = replace(record, earlier=tuple(sorted(earlier)))
        self._write(record)

    def invalidate(self, record: BuildRecord) -> None:
        """Clear the digest of a build whose files the Hub lost, unless a later build replaced the record."""
        stored = self._read(*record.name)
        if stored is not None and stored.files == record.files:
            self._write(replace(stored, digest="", files=(), index=None, earlier=tuple(sorted(stored.sha256s))))

    def find(self, language: str, number: int, digest: str, dataset: str) -> BuildRecord | None:
        """Return the record of the build with this digest for this dataset, or None."""
        record = self._read(language, number)
        return record if record is not None and (record.digest, record.dataset) == (digest, dataset) else None

    def built_sha256(self, names: Collection[Name]) -> dict[Name, frozenset[str]]:
        """Return the SHA-256 of every file built of these chunks, whether or not the history records it."""
        with ThreadPoolExecutor(_READERS) as pool:
            stored = zip(names, map(sha256s_in, pool.map(self._data, names)), strict=True)
            return {name: found for name, found in stored if found}

    def readable_records(self, names: Collection[Name]) -> dict[Name, BuildRecord]:
        """Return the records of those chunks that are built; a damaged record counts as missing."""
        return {name: record for name, record in self._read_all(names) if record.digest}

    def _read_all(self, names: Collection[Name]) -> Iterator[tuple[Name, BuildRecord]]:
        with ThreadPoolExecutor(_READERS) as pool:
            records = pool.map(lambda name: self._read(*name), names)
            yield from ((name, record) for name, record in zip(names, records, strict=True) if record)

    def _read(self, language: str, number: int) -> BuildRecord | None:
        """Return the record, even an invalidated one; None when it is missing or damaged."""
        try:
            return decode(self._data((language, number)))
        except ShardError:
            return None

    def _data(self, name: Name) -> bytes:
        """Return a record as it is stored; b"" where there is none."""
        return self.files.read(f"{name[0]}/{record_name(name[1])}") or b""

    def _write(self, record: BuildRecord) -> None:
        self.files.overwrite(f"{record.language}/{record_name(record.number)}", encode(record))


def open_builds(plan: PlanSettings, r2: BucketSettings | None) -> BuildStore:
    """Open the records beside the plan at STATE_URL."""
    url = f"{plan.state_url.rstrip('/')}/{_FOLDER}"
    return BuildStore(StateFiles(open_store(url, r2), default_retry()))
