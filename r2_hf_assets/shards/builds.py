"""Build records, stored beside the plan: the files that each chunk's latest build uploaded, and its rejects.

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
from r2_hf_assets.shards.names import record_name, rejects_name
from r2_hf_assets.shards.record import BuildRecord, decode, encode

_FOLDER = "builds"
_READERS = 32


@dataclass(frozen=True)
class BuildStore:
    """Build records and ledgers below `uri`."""

    files: StateFiles
    uri: str

    def write(self, record: BuildRecord, rejects: bytes | None) -> None:
        """Store a build's ledger, then its record, which keeps the SHA-256 of earlier builds."""
        previous = self._read(*record.name)
        if previous is not None:
            record = replace(record, earlier=tuple(sorted(previous.sha256s - record.sha256s)))
        ledger = f"{record.language}/{rejects_name(record.number)}"
        if rejects is not None:
            self.files.overwrite(ledger, rejects)
        else:
            self.files.delete(ledger)
        self._write(record)

    def invalidate(self, record: BuildRecord) -> None:
        """Clear the digest of a build whose files the Hub lost, unless a later build replaced the record."""
        stored = self._read(*record.name)
        if stored is not None and stored.files == record.files:
            self._write(replace(stored, digest="", files=(), rejects=None, earlier=tuple(sorted(stored.sha256s))))

    def find(self, language: str, number: int, digest: str, dataset: str) -> BuildRecord | None:
        """Return the record of the build with this digest for this dataset, or None."""
        record = self._read(language, number)
        return record if record is not None and (record.digest, record.dataset) == (digest, dataset) else None

    def built_sha256(self, names: Collection[Name]) -> dict[Name, frozenset[str]]:
        """Return the SHA-256 of every file built of these chunks, whether or not the history records it."""
        return {name: record.sha256s for name, record in self._read_all(names)}

    def readable_records(self, names: Collection[Name]) -> dict[Name, BuildRecord]:
        """Return the records of those chunks that are built; a damaged record counts as missing."""
        return {name: record for name, record in self._read_all(names) if record.digest}

    def ledger_uri(self, record: BuildRecord) -> str | None:
        return f"{self.uri}/{record.language}/{record.rejects.name}" if record.rejects else None

    def _read_all(self, names: Collection[Name]) -> Iterator[tuple[Name, BuildRecord]]:
        with ThreadPoolExecutor(_READERS) as pool:
            records = pool.map(lambda name: self._read(*name), names)
            yield from ((name, record) for name, record in zip(names, records, strict=True) if record)

    def _read(self, language: str, number: int) -> BuildRecord | None:
        """Return the record, even an invalidated one; None when it is missing or damaged."""
        data = self.files.read(f"{language}/{record_name(number)}")
        try:
            return decode(data) if data is not None else None
        except ShardError:
            return None

    def _write(self, record: BuildRecord) -> None:
        self.files.overwrite(f"{record.language}/{record_name(record.number)}", encode(record))


def open_builds(plan: PlanSettings, r2: BucketSettings | None) -> BuildStore:
    """Open the records beside the plan at STATE_URL."""
    url = f"{plan.state_url.rstrip('/')}/{_FOLDER}"
    return BuildStore(StateFiles(open_store(url, r2), default_retry()), url)
