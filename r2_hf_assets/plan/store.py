"""The plan: one immutable manifest a chunk, in a folder or on S3.

    plan/identity.json             the bucket and prefix of this plan
    plan/id.json                   the plan's id, which the dataset names (hub/ownership.py)
    plan/index.json                digests of the chunks, a cache: missing ones are read from the manifests
    plan/<language>/chunk_0007.json
    plan/<language>/waiting.json   since when there has continuously been a remainder
    plan/folders_0000.json         the decided language of each folder (folders.py)

Chunks of a language form a log: number n is created exclusively (S3: If-None-Match, folder: a hard link), by a scan
that has read all chunks below n and leaves out their members. So two concurrent scans can neither create the same
number nor plan an episode twice; the one that loses the race reads the chunk that won and continues behind it. Nothing
is deleted, and only index.json and waiting.json are overwritten. Every call is idempotent.
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
from r2_hf_assets.plan.files import StateFiles
from r2_hf_assets.retry import Retry, default_retry
from r2_hf_assets.settings import BucketSettings, PlanSettings

_MANIFEST = re.compile(r"^plan/([a-z]+)/chunk_(\d{4,})\.json$")
_INDEX = "plan/index.json"
_IDENTITY = "plan/identity.json"
_ID = "plan/id.json"
_READERS = 32
_READ_AHEAD = 64


def open_plan(plan: PlanSettings, r2: BucketSettings) -> "PlanStore":
    """Open this bucket's plan in STATE_URL, without a request."""
    return PlanStore(open_store(plan.state_url, r2), r2.name, r2.prefix)


@dataclass(frozen=True)
class PlanStore:
    """The plan of one bucket and prefix.

    Raises from every method:
        PlanError: a file of the plan is damaged or missing.
        DiskError, AccessError, RetriesExhausted: the store can't be read or written.
    """

    store: Store
    bucket: str
    prefix: str
    retry: Retry = field(default_factory=default_retry)

    @property
    def _files(self) -> StateFiles:
        return StateFiles(self.store, self.retry)

    def check_identity(self) -> None:
        """Bind an empty store to this bucket and prefix; raise PlanError if it is bound to another."""
        if not self._files.create(_IDENTITY, json.dumps(self._identity).encode()):
            self._require_plan()

    def find_id(self) -> str | None:
        """Return the plan's id; None when it has none yet."""
        content = self._files.read_json(_ID)
        if content is None:
            return None
        if not isinstance(plan_id := content.get("id"), str):
            raise damaged(_ID)
        return plan_id

    def ensure_id(self) -> str:
        """Return the plan's id, 32 hex digits, created by the first call. A copy of the plan has the same id."""
        while (plan_id := self.find_id()) is None:
            self._require_plan()
            self._files.create(_ID, json.dumps({"id": uuid.uuid4().hex}).encode())
            self._files.sync([_ID])
        return plan_id

    @property
    def _identity(self) -> dict[str, str]:
        return {"bucket": self.bucket, "prefix": self.prefix}

    def _require_plan(self) -> None:
        existing = self._files.read_json(_IDENTITY)
        if existing is None:
            raise PlanError("plan: STATE_URL holds none; restore it if there was one, else materialize work_plan")
        if existing != self._identity:
            raise PlanError(
                f"plan: STATE_URL holds the plan of {existing}, not of {self._identity}; set STATE_URL to another place"
            )

    def numbers(self) -> dict[str, list[int]]:
        """Return chunk numbers by language, ascending. A missing number is a PlanError: a manifest was lost."""
        listed: dict[str, set[int]] = defaultdict(set)
        for path in self._files.list_paths("plan/"):
            if match := _MANIFEST.match(path):
                listed[match[1]].add(int(match[2]))
        for language, numbers in listed.items():
            # A listing concurrent with another scan can have a number without the one before it.
            for number in sorted({*range(max(numbers))} - numbers):
                if self.read(language, number) is None:
                    raise PlanError(f"plan: {_path(language, number)} is missing; restore it from a backup")
        return {language: list(range(max(numbers) + 1)) for language, numbers in listed.items()}

    def read(self, language: str, number: int) -> ChunkManifest | None:
        """Read a chunk; None when it is not planned."""
        path = _path(language, number)
        data = self._files.read(path)
        if data is None:
            return None
        chunk = decode(data, path)
        if chunk.name != (language, number):
            raise damaged(path)
        return chunk

    def find(self, language: str, number: int) -> ChunkManifest | None:
        """Read a chunk; None when it is not planned. Raises PlanError when the store has no plan of this bucket."""
        self._require_plan()
        return self.read(language, number)

    def read_many(self, wanted: Iterable[Name]) -> Iterator[ChunkManifest]:
        """Yield chunks in the given order, prefetched concurrently. A missing one is a PlanError."""
        names = iter(wanted)
        with closing(Background(_READERS, "plan")) as threads:
            reads = deque(threads.submit(self.read, *name) for name in islice(names, _READ_AHEAD))
            while reads:
                chunk = reads.popleft().result()
                reads.extend(threads.submit(self.read, *name) for name in islice(names, 1))
                if chunk is None:
                    raise PlanError("plan: a chunk vanished while the plan was read; manifests must not be deleted")
                yield chunk

    def create(self, chunk: ChunkManifest) -> bool:
        """Store a new chunk; return False when another chunk has its number."""
        if self._files.create(_path(*chunk.name), encode(chunk)):
            return True
        existing = self.read(*chunk.name)  # its own one, when the response to the first attempt was lost
        return existing is not None and existing.digest == chunk.digest

    def folders(self) -> list[dict[str, str]]:
        """Return the log of decisions: entries of {folder: language}."""
        log: list[dict[str, str]] = []
        while (entry := self._files.read_json(_folders(len(log)))) is not None:
            if not all(language in LANGUAGES for language in entry.values()):
                raise damaged(_folders(len(log)))
            log.append(entry)
        return log

    def add_folders(self, number: int, languages: Mapping[str, str]) -> bool:
        """Append to that log and sync it; return False when the number exists, perhaps as this same entry."""
        created = self._files.create(_folders(number), json.dumps(languages).encode())
        self._files.sync([_folders(number)])
        return created

    def planned(self) -> list[ChunkRef]:
        """Return all chunks by language and number, from the index and, for those it lacks, from the manifests."""
        return self._complete(self._read_index())

    def write_index(self, created: Iterable[ChunkManifest] = ()) -> list[ChunkRef]:
        """Update the index; return all chunks. `created` ones are not read again.

        Manifests are synced before the index names them. The last writer wins: two writers never contradict each other.
        """
        indexed = self._read_index()
        planned = self._complete({**indexed, **{chunk.name: chunk.ref for chunk in created}})
        rows = [[*chunk.name, chunk.digest, chunk.episodes] for chunk in planned]
        self._files.sync(_path(*chunk.name) for chunk in planned if chunk.name not in indexed)
        self._files.overwrite(_INDEX, json.dumps(rows).encode())
        self._files.sweep()
        return planned

    def _read_index(self) -> dict[Name, ChunkRef]:
        try:
            rows = [ChunkRef(*row) for row in json.loads(self._files.read(_INDEX) or b"[]")]
            return {chunk.name: chunk for chunk in rows}
        except (ValueError, TypeError, RecursionError):
            return {}  # a damaged cache is rebuilt

    def _complete(self, index: Mapping[Name, ChunkRef]) -> list[ChunkRef]:
        names = [(language, number) for language, numbers in sorted(self.numbers().items()) for number in numbers]
        missing = self.read_many(name for name in names if name not in index)
        known = {**index, **{chunk.name: chunk.ref for chunk in missing}}
        return [known[name] for name in names]

    def waiting_since(self, language: str) -> datetime | None:
        """Return since when this language has continuously had a remainder; None when it has none."""
        path = _waiting(language)
        stamp = (self._files.read_json(path) or {}).get("since")
        try:
            return datetime.fromisoformat(stamp).astimezone(UTC) if stamp else None
        except (ValueError, TypeError):
            raise damaged(path) from None

    def set_waiting(self, language: str, since: datetime | None) -> None:
        """Record since when there is a remainder; None: there is none."""
        stamp = since.astimezone(UTC).isoformat() if since else None
        if stamp or self._files.read(_waiting(language)) is not None:
            self._files.overwrite(_waiting(language), json.dumps({"since": stamp}).encode())


def _path(language: str, number: int) -> str:
    return f"plan/{language}/chunk_{number:04d}.json"


def _folders(number: int) -> str:
    return f"plan/folders_{number:04d}.json"


def _waiting(language: str) -> str:
    return f"plan/{language}/waiting.json"
