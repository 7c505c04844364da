"""The plan: one immutable manifest a chunk, in a folder or on S3.

    plan/identity.json             which bucket and prefix this plan is of
    plan/id.json                   the plan's id, which the dataset names (hub/ownership.py)
    plan/index.json                digests of the chunks, a cache: what it lacks is read from the manifests
    plan/<language>/chunk_0007.json
    plan/<language>/waiting.json   since when there has been a remainder, without a break
    plan/folders_0000.json         the language of each folder, as scans decided it (folders.py)

Chunks of a language form a log: number n is created exclusively (S3: If-None-Match, folder: a hard link), by a scan
that has read all numbers below n and leaves out their members. So two scans at once can neither take the same number
nor plan an episode twice; the one that loses the race reads the other's chunk and continues behind it. Nothing is ever
deleted, and nothing but index.json and waiting.json is written twice. Every call is idempotent.
"""

import json
import re
import uuid
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice

from r2_hf_assets.background import Background
from r2_hf_assets.bucket.client import Store, open_store
from r2_hf_assets.errors import PlanError
from r2_hf_assets.languages import LANGUAGES
from r2_hf_assets.plan.chunks import ChunkManifest, ChunkRef, Name, damaged, decode, encode
from r2_hf_assets.plan.files import PlanFiles
from r2_hf_assets.retry import Retry, default_retry
from r2_hf_assets.settings import BucketSettings, PlanSettings

_MANIFEST = re.compile(r"^plan/([a-z]+)/chunk_(\d{4,})\.json$")
_INDEX = "plan/index.json"
_IDENTITY = "plan/identity.json"
_ID = "plan/id.json"
_READERS = 32
_READ_AHEAD = 64


def open_plan(plan: PlanSettings, r2: BucketSettings) -> "PlanStore":
    """The plan of this bucket, where STATE_URL says."""
    return PlanStore(open_store(plan.state_url, r2), r2.name, r2.prefix)


@dataclass(frozen=True)
class PlanStore:
    """Reads and appends the plan of one bucket and prefix.

    Raises from every method:
        PlanError: a file of the plan is damaged or missing.
        DiskError, AccessError, RetriesExhausted: the store can't be read or written.
    """

    store: Store
    bucket: str
    prefix: str
    retry: Retry = field(default_factory=default_retry)

    @property
    def _files(self) -> PlanFiles:
        return PlanFiles(self.store, self.retry)

    def check_identity(self) -> None:
        """Bind an empty store to this bucket and prefix; refuse one that is bound to another."""
        if not self._files.create(_IDENTITY, json.dumps(self._identity).encode()):
            self._require_plan()

    def find_id(self) -> str | None:
        """The plan's id; None when it has none yet."""
        found = self._files.read_json(_ID)
        if found is None:
            return None
        if not isinstance(plan_id := found.get("id"), str):
            raise damaged(_ID)
        return plan_id

    def id(self) -> str:
        """The plan's id, 32 hex digits, made by the first call. A copy or a backup of the plan has the same."""
        while (found := self.find_id()) is None:
            self._require_plan()
            self._files.create(_ID, json.dumps({"id": uuid.uuid4().hex}).encode())
            self._files.sync([_ID])
        return found

    @property
    def _identity(self) -> dict[str, str]:
        return {"bucket": self.bucket, "prefix": self.prefix}

    def _require_plan(self) -> None:
        found = self._files.read_json(_IDENTITY)
        if found is None:
            raise PlanError("plan: STATE_URL holds none; restore it if there was one, else materialize work_plan")
        if found != self._identity:
            raise PlanError(
                f"plan: STATE_URL holds the plan of {found}, not of {self._identity}; "
                "set STATE_URL to a place of its own"
            )

    def numbers(self) -> dict[str, list[int]]:
        """Chunk numbers by language, ascending. A missing number is a PlanError: members of the plan are lost."""
        listed: dict[str, set[int]] = defaultdict(set)
        for path in self._files.list_paths("plan/"):
            if match := _MANIFEST.match(path):
                listed[match[1]].add(int(match[2]))
        for language, numbers in listed.items():
            # A listing during another scan can show a number and not the one before it.
            for number in sorted({*range(max(numbers))} - numbers):
                if self.read(language, number) is None:
                    raise PlanError(f"plan: {_path(language, number)} is missing; restore it from a backup")
        return {language: list(range(max(numbers) + 1)) for language, numbers in listed.items()}

    def read(self, language: str, number: int) -> ChunkManifest | None:
        """One chunk; None when it is not planned."""
        path = _path(language, number)
        data = self._files.read(path)
        if data is None:
            return None
        chunk = decode(data, path)
        if chunk.name != (language, number):
            raise damaged(path)
        return chunk

    def find(self, language: str, number: int) -> ChunkManifest | None:
        """The chunk of a partition; None when it is not planned. An error when there is no plan here."""
        self._require_plan()
        return self.read(language, number)

    def read_many(self, wanted: Iterable[Name]) -> Iterator[ChunkManifest]:
        """Chunks in the given order, read concurrently, a few ahead. All of them must exist."""
        names = iter(wanted)
        with closing(Background(_READERS, "plan")) as threads:
            reads = deque(threads.submit(self.read, *name) for name in islice(names, _READ_AHEAD))
            while reads:
                chunk = reads.popleft().result()
                reads.extend(threads.submit(self.read, *name) for name in islice(names, 1))
                if chunk is None:
                    raise PlanError("plan: a chunk vanished while the plan was read; nothing may delete manifests")
                yield chunk

    def create(self, chunk: ChunkManifest) -> bool:
        """Store a new chunk. False when its number is taken by another chunk.

        A PUT whose response was lost is repeated and finds its own chunk: the digest is the same.
        """
        if self._files.create(_path(*chunk.name), encode(chunk)):
            return True
        existing = self.read(*chunk.name)
        return existing is not None and existing.digest == chunk.digest

    def folders(self) -> list[dict[str, str]]:
        """The log of decisions: entries of {folder: language}."""
        log: list[dict[str, str]] = []
        while (entry := self._files.read_json(_folders(len(log)))) is not None:
            if not all(language in LANGUAGES for language in entry.values()):
                raise damaged(_folders(len(log)))
            log.append(entry)
        return log

    def add_folders(self, number: int, languages: Mapping[str, str]) -> bool:
        """Append to that log and sync it. False when the number is taken, maybe by this very entry."""
        created = self._files.create(_folders(number), json.dumps(languages).encode())
        self._files.sync([_folders(number)])
        return created

    def planned(self) -> list[ChunkRef]:
        """Every planned chunk by language and number; from the index, and the manifests where the index lags."""
        return self._complete(self._read_index())

    def write_index(self, created: Iterable[ChunkManifest] = ()) -> list[ChunkRef]:
        """Bring the index up to date; returns every planned chunk. Last writer wins: entries never differ, only lag.

        The chunks that it names are synced first, so a host that loses power does not lose the plan.

        Args:
            created: chunks that were just created, and need not be read again.
        """
        indexed = self._read_index()
        planned = self._complete({**indexed, **{chunk.name: chunk.ref for chunk in created}})
        rows = [[p.language, p.number, p.digest, p.episodes] for p in planned]
        self._files.sync(_path(*p.name) for p in planned if p.name not in indexed)
        self._files.overwrite(_INDEX, json.dumps(rows).encode())
        self._files.sweep()
        return planned

    def _read_index(self) -> dict[Name, ChunkRef]:
        try:
            rows = [ChunkRef(*row) for row in json.loads(self._files.read(_INDEX) or b"[]")]
            return {planned.name: planned for planned in rows}
        except (ValueError, TypeError, RecursionError):
            return {}  # a damaged cache is no cache

    def _complete(self, index: Mapping[Name, ChunkRef]) -> list[ChunkRef]:
        names = [(language, number) for language, numbers in sorted(self.numbers().items()) for number in numbers]
        missing = self.read_many(name for name in names if name not in index)
        known = {**index, **{chunk.name: chunk.ref for chunk in missing}}
        return [known[name] for name in names]

    def waiting_since(self, language: str) -> datetime | None:
        """Since when this language has had a remainder, without a break; None when it has none."""
        path = _waiting(language)
        stamp = (self._files.read_json(path) or {}).get("since")
        try:
            return datetime.fromisoformat(stamp).astimezone(UTC) if stamp else None
        except (ValueError, TypeError):
            raise damaged(path) from None

    def set_waiting(self, language: str, since: datetime | None) -> None:
        """Record since when there is a remainder, or that there is none."""
        stamp = since.astimezone(UTC).isoformat() if since else None
        if stamp or self._files.read(_waiting(language)) is not None:
            self._files.overwrite(_waiting(language), json.dumps({"since": stamp}).encode())


def _path(language: str, number: int) -> str:
    return f"plan/{language}/chunk_{number:04d}.json"


def _folders(number: int) -> str:
    return f"plan/folders_{number:04d}.json"


def _waiting(language: str) -> str:
    return f"plan/{language}/waiting.json"
