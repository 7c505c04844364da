"""Build records, beside the plan: what each chunk's latest build brought to the Hub's content store, and its rejects.

The record comes last, so a chunk without one is not built. Where the plan is on S3, any machine may commit what another
one built: the record is all that a commit needs. Names are made from partitions alone, never from the bucket.
"""

from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from r2_hf_assets.bucket.client import open_store
from r2_hf_assets.errors import ShardError
from r2_hf_assets.plan.chunks import Name
from r2_hf_assets.plan.files import PlanFiles
from r2_hf_assets.retry import default_retry
from r2_hf_assets.settings import BucketSettings, PlanSettings
from r2_hf_assets.shards.names import record_name, rejects_name
from r2_hf_assets.shards.record import BuildRecord, decode, encode

_FOLDER = "builds"
_READERS = 32


@dataclass(frozen=True)
class BuildStore:
    """Writes and finds the records of builds."""

    files: PlanFiles
    uri: str

    def write(self, record: BuildRecord, rejects: bytes | None) -> None:
        """Record a build: from here on the chunk is built. What earlier builds may have left on the Hub stays known."""
        before = self._read(record.language, record.number)
        if before is not None:
            record = replace(record, earlier=tuple(sorted(before.sha256s - record.sha256s)))
        ledger = f"{record.language}/{rejects_name(record.number)}"
        if rejects is not None:
            self.files.overwrite(ledger, rejects)
        else:
            self.files.delete(ledger)
        self._write(record)

    def forget(self, record: BuildRecord) -> None:
        """Replace the record of a build that the Hub lost by one without a digest, unless it was built meanwhile."""
        stored = self._read(record.language, record.number)
        if stored is not None and stored.files == record.files:
            self._write(replace(stored, digest="", files=(), rejects=None, earlier=tuple(sorted(stored.sha256s))))

    def find(self, language: str, number: int, digest: str, dataset: str) -> BuildRecord | None:
        """The record of a build of the chunk with this digest for this dataset; None when none can be read."""
        record = self._read(language, number)
        return record if record is not None and (record.digest, record.dataset) == (digest, dataset) else None

    def built_sha256(self, names: Collection[Name]) -> dict[Name, frozenset[str]]:
        """SHA-256 of every file that was built of these chunks: one may be on the Hub that no history names."""
        return {name: record.sha256s for name, record in self._read_all(names)}

    def readable_records(self, names: Collection[Name]) -> dict[Name, BuildRecord]:
        """The records of those of several chunks that are built; a damaged one counts as lost."""
        return {name: record for name, record in self._read_all(names) if record.digest}

    def ledger_uri(self, record: BuildRecord) -> str | None:
        """Where the rejects ledger lies, for people."""
        return f"{self.uri}/{record.language}/{record.rejects.name}" if record.rejects else None

    def _read_all(self, names: Collection[Name]) -> Iterator[tuple[Name, BuildRecord]]:
        with ThreadPoolExecutor(_READERS) as pool:
            found = pool.map(lambda name: self._read(*name), names)
            yield from ((name, record) for name, record in zip(names, found, strict=True) if record)

    def _read(self, language: str, number: int) -> BuildRecord | None:
        """The record, also one without a digest; None for a damaged one, which building again replaces."""
        data = self.files.read(f"{language}/{record_name(number)}")
        try:
            return decode(data) if data is not None else None
        except ShardError:
            return None

    def _write(self, record: BuildRecord) -> None:
        self.files.overwrite(f"{record.language}/{record_name(record.number)}", encode(record))


def open_builds(plan: PlanSettings, r2: BucketSettings | None) -> BuildStore:
    """The records beside the plan that STATE_URL names."""
    url = f"{plan.state_url.rstrip('/')}/{_FOLDER}"
    return BuildStore(PlanFiles(open_store(url, r2), default_retry()), url)
