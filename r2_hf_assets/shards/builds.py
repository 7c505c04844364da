"""Build records, beside the plan: what each chunk's latest build brought to the Hub's content store, and its rejects.

The record comes last, so a chunk without one is not built. Where the plan is on S3, any machine may commit what another
one built: the record is all that a commit needs. Names are made from partitions alone, never from the bucket.
"""

from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace

import obstore

from r2_hf_assets.bucket.client import NOT_FOUND, Store, ask, folder_of, open_store
from r2_hf_assets.disk import sweep_torn_writes
from r2_hf_assets.errors import ShardError
from r2_hf_assets.retry import Retry, default_retry
from r2_hf_assets.settings import BucketSettings, PlanSettings
from r2_hf_assets.shards.names import record_name, rejects_name, stem
from r2_hf_assets.shards.record import BuildRecord, decode, encode

Name = tuple[str, int]

_FOLDER = "builds"
_READERS = 32


@dataclass(frozen=True)
class BuildStore:
    """Writes and finds the records of builds."""

    store: Store
    uri: str
    retry: Retry = field(default_factory=default_retry)

    def write(self, record: BuildRecord, rejects: bytes | None) -> None:
        """Record a build: from here on the chunk is built. What earlier builds may have left on the Hub stays known."""
        before = self._readable(record.language, record.number)
        if before is not None:
            record = _after(before, record)
        ledger = f"{record.language}/{rejects_name(record.number)}"
        if rejects is not None:
            self._put(ledger, rejects)
        else:
            self._delete(ledger)
        self._put(_path(record.language, record.number), encode(record))
        if folder := folder_of(self.store):
            sweep_torn_writes(folder, f"{record.language}/{stem(record.number)}.*#*")

    def forget(self, record: BuildRecord) -> None:
        """The Hub does not hold what the record names: the chunk is to be built again, unless it was meanwhile."""
        stored = self._readable(record.language, record.number)
        if stored is not None and stored.files == record.files:
            self._put(_path(record.language, record.number), encode(_unbuilt(stored)))

    def find(self, language: str, number: int, digest: str, dataset: str) -> BuildRecord | None:
        """The record of a build of the chunk with this digest; None when there is none, or it is damaged.

        Args:
            dataset: the address of the repo that the content must have been sent to.
        """
        record = self._readable(language, number)
        return record if record is not None and (record.digest, record.dataset) == (digest, dataset) else None

    def built_sha256(self, names: Collection[Name]) -> dict[Name, frozenset[str]]:
        """SHA-256 of every file that was built of these chunks: one may be on the Hub that no history names."""
        return {name: record.sha256s for name, record in self._readable_of(names)}

    def readable_records(self, names: Collection[Name]) -> dict[Name, BuildRecord]:
        """The records of those of several chunks that are built; a damaged one counts as lost."""
        return {name: record for name, record in self._readable_of(names) if record.digest}

    def _readable_of(self, names: Collection[Name]) -> Iterator[tuple[Name, BuildRecord]]:
        """Read side by side."""
        with ThreadPoolExecutor(_READERS) as pool:
            found = pool.map(lambda name: self._readable(*name), names)
            yield from ((name, record) for name, record in zip(names, found, strict=True) if record)

    def _readable(self, language: str, number: int) -> BuildRecord | None:
        """Also one of no build (see `_unbuilt`). A damaged one is mended by building again."""
        path = _path(language, number)
        try:
            return decode(
                ask(self.retry, f"reading {path}", lambda: bytes(obstore.get(self.store, path).bytes()), self.store)
            )
        except (*NOT_FOUND, ShardError):
            return None

    def _put(self, name: str, data: bytes) -> None:
        ask(self.retry, f"writing {name}", lambda: obstore.put(self.store, name, data), self.store)

    def _delete(self, name: str) -> None:
        def delete() -> None:
            with suppress(*NOT_FOUND):
                obstore.delete(self.store, name)

        ask(self.retry, f"deleting {name}", delete, self.store)

    def ledger_uri(self, record: BuildRecord) -> str | None:
        """Where the rejects ledger lies, for people."""
        return f"{self.uri}/{record.language}/{record.rejects.name}" if record.rejects else None


def open_builds(plan: PlanSettings, r2: BucketSettings | None) -> BuildStore:
    """The records beside the plan that STATE_URL names."""
    url = f"{plan.state_url.rstrip('/')}/{_FOLDER}"
    return BuildStore(open_store(url, r2), url)


def _path(language: str, number: int) -> str:
    return f"{language}/{record_name(number)}"


def _unbuilt(before: BuildRecord) -> BuildRecord:
    """A record of no build, which remembers what the builds so far may have left on the Hub."""
    earlier = dict.fromkeys((*before.earlier, *(file.sha256 for file in before.files)))
    return replace(before, digest="", files=(), rejects=None, earlier=tuple(earlier))


def _after(before: BuildRecord, record: BuildRecord) -> BuildRecord:
    """A record that remembers the same."""
    now = {file.sha256 for file in record.files}
    return replace(record, earlier=tuple(sha256 for sha256 in _unbuilt(before).earlier if sha256 not in now))
