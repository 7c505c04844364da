"""The plan: one immutable manifest a chunk, in a folder or on S3.

    plan/identity.json             the bucket and prefix of this plan
    plan/id.json                   the plan's id, which the dataset names (hub/ownership.py)
    plan/index.json                digests of the chunks, a cache: missing ones are read from the manifests
    plan/<language>/chunk_0007.json
    plan/<language>/waiting.json   since when there has continuously been a remainder
    plan/folders_0000.json         the decided language of each folder (folders.py)
    plan/restored.json             the id of the plan that is, or was, restored here (reconcile/restore.py)
    plan/unused.json               numbers that a restored plan leaves out: their chunks were never committed
    plan/amendment_0000.json       what changed in sealed chunks (amendments.py)
    plan/amendments.json           all of them, a cache: missing ones are read one by one

Chunks of a language form a log: number n is created exclusively (S3: If-None-Match, folder: a hard link), by a scan
that has read all chunks below n and leaves out their members. So two concurrent scans can neither create the same
number nor plan an episode twice; the one that loses the race reads the chunk that won and continues behind it. Nothing
is deleted, and only caches and waiting.json are overwritten. Every call is idempotent.
"""

import json
import re
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from r2_hf_assets.background import map_in_order
from r2_hf_assets.bucket.client import Store, open_store
from r2_hf_assets.errors import PlanError
from r2_hf_assets.languages import LANGUAGES
from r2_hf_assets.plan import amendments
from r2_hf_assets.plan.amendments import Amendment, Target, amended_digest
from r2_hf_assets.plan.chunks import ChunkManifest, ChunkRef, Name, damaged, decode, encode
from r2_hf_assets.plan.files import StateFiles
from r2_hf_assets.retry import Retry, default_retry
from r2_hf_assets.settings import BucketSettings, PlanSettings

_MANIFEST = re.compile(r"^plan/([a-z]+)/chunk_(\d{4,})\.json$")
_INDEX = "plan/index.json"
_AMENDMENTS = "plan/amendments.json"
_UNUSED = "plan/unused.json"
_RESTORED = "plan/restored.json"
_IDENTITY = "plan/identity.json"
_ID = "plan/id.json"
_LOG, _FOLDERS_LOG = "plan/amendment", "plan/folders"
_READERS = 32


def open_plan(plan: PlanSettings, r2: BucketSettings) -> "PlanStore":
    """Open this bucket's plan in STATE_URL, without a request."""
    return PlanStore(open_store(plan.state_url, r2), r2.name, r2.prefix)


@dataclass(frozen=True)
class PlanStore:
    """The plan of one bucket and prefix. Every method raises PlanError when a file is damaged or missing."""

    store: Store
    bucket: str
    prefix: str
    retry: Retry = field(default_factory=default_retry)

    @property
    def _files(self) -> StateFiles:
        return StateFiles(self.store, self.retry)

    def check_identity(self) -> None:
        """Bind an empty store to this bucket and prefix; raise PlanError if it is bound to another."""
        own = {"bucket": self.bucket, "prefix": self.prefix}
        if not self._files.create(_IDENTITY, json.dumps(own).encode()):
            self._require_plan()

    def find_id(self) -> str | None:
        """Return the plan's id; None when it has none yet."""
        content = self._files.read_json(_ID)
        if content is not None and not isinstance(content.get("id"), str):
            raise damaged(_ID)
        return content["id"] if content else None

    def ensure_id(self) -> str:
        """Return the plan's id, 32 hex digits, created by the first call. A copy of the plan has the same id."""
        while (plan_id := self.find_id()) is None:
            self._require_plan()
            self.set_id(uuid.uuid4().hex)
        return plan_id

    def set_id(self, plan_id: str) -> None:
        """Give the plan this id, unless it has one."""
        self._files.create(_ID, json.dumps({"id": plan_id}).encode())
        self._files.sync([_ID])

    def begin_restore(self, plan_id: str) -> None:
        """Prepare an empty store for the chunks of this plan, or continue. Raises PlanError if it holds another one.

        The plan gets its id at the end, and until then no scan plans.
        """
        self.check_identity()
        existing = self.find_id()
        if existing is None and self.numbers():
            existing = (self._files.read_json(_RESTORED) or {}).get("id", "one without an id")
        if existing not in (None, plan_id):
            raise PlanError(
                f"plan: STATE_URL holds another plan ({existing}) than the dataset's; set it to an empty place"
            )
        self._files.create(_RESTORED, json.dumps({"id": plan_id}).encode())

    def _require_plan(self) -> None:
        existing = self._files.read_json(_IDENTITY)
        if existing is None:
            raise PlanError("plan: STATE_URL holds none; restore it if there was one, else run r2-hf scan")
        own = (("R2_BUCKET", "bucket", self.bucket), ("PROCESSED_PREFIX", "prefix", self.prefix))
        for variable, name, value in own:
            if (other := existing.get(name)) != value:
                raise PlanError(
                    f"plan: {variable}={value}, and STATE_URL holds the plan of {other}: correct {variable} in .env; "
                    "another dataset needs its own STATE_URL and HF_REPO_ID"
                )

    def numbers(self) -> dict[str, list[int]]:
        """Return chunk numbers by language, ascending. A missing number is a PlanError: a manifest was lost.

        A restored plan leaves out the numbers in unused.json.
        """
        listed: dict[str, set[int]] = defaultdict(set)
        for path in self._files.list_paths("plan/"):
            if match := _MANIFEST.match(path):
                listed[match[1]].add(int(match[2]))
        gaps = {language: {*range(max(numbers))} - numbers for language, numbers in listed.items()}
        unused = (self._files.read_json(_UNUSED) or {}) if any(gaps.values()) else {}
        for language, missing in gaps.items():
            # A listing concurrent with another scan can have a number without the one before it.
            for number in sorted(missing - {*unused.get(language, ())}):
                if self.read(language, number) is None:
                    raise PlanError(f"plan: {_path(language, number)} is missing; restore it from a backup")
                listed[language].add(number)
        return {language: sorted(numbers) for language, numbers in listed.items()}

    def names(self) -> list[Name]:
        """Return all chunks by language and number."""
        return [(language, number) for language, numbers in sorted(self.numbers().items()) for number in numbers]

    def leave_out(self, unused: Mapping[str, Sequence[int]]) -> None:
        """Record the numbers that a restored plan has no chunk for. No scan uses them again."""
        if any(unused.values()):
            self._files.overwrite(_UNUSED, json.dumps(unused).encode())
            self._files.sync([_UNUSED])

    def read(self, language: str, number: int) -> ChunkManifest | None:
        """Read a manifest; None when it is not planned."""
        path = _path(language, number)
        data = self._files.read(path)
        if data is None:
            return None
        chunk = decode(data, path)
        if chunk.name != (language, number):
            raise damaged(path)
        return chunk

    def find(self, language: str, number: int) -> ChunkManifest | None:
        """Return a chunk as it is to be built, with its amendments; None when it is not planned.

        Raises PlanError when the store has no plan of this bucket.
        """
        self._require_plan()
        chunk = self.read(language, number)
        return chunk.amended(self.amendments()) if chunk else None

    def read_many(self, wanted: Iterable[Name]) -> Iterator[ChunkManifest]:
        """Yield manifests in the given order, prefetched concurrently. A missing one is a PlanError."""
        with closing(map_in_order(lambda name: self.read(*name), wanted, _READERS, "plan")) as chunks:
            for chunk in chunks:
                if chunk is None:
                    raise PlanError(
                        "plan: a chunk vanished while the plan was read; restore its manifest from a backup"
                    )
                yield chunk

    def create(self, chunk: ChunkManifest) -> bool:
        """Store a new chunk; return False when another chunk has its number."""
        if self._files.create(_path(*chunk.name), encode(chunk)):
            return True
        existing = self.read(*chunk.name)  # its own one, when the response to the first attempt was lost
        return existing is not None and existing.digest == chunk.digest

    def folders(self) -> list[dict[str, str]]:
        """Return the log of decisions: entries of {folder: language}."""
        log = [entry for _, entry in self._files.read_log(_FOLDERS_LOG)]
        for number, entry in enumerate(log):
            if not all(language in LANGUAGES for language in entry.values()):
                raise damaged(f"{_FOLDERS_LOG}_{number:04d}.json")
        return log

    def add_folders(self, number: int, languages: Mapping[str, str]) -> bool:
        """Append to that log; return False when the number exists, perhaps as this same entry."""
        return self._files.append(_FOLDERS_LOG, number, languages)

    def planned(self) -> list[ChunkRef]:
        """Return all chunks by language and number, with the digests of their amendments."""
        return self._amend(self.sealed())

    def sealed(self) -> list[ChunkRef]:
        """Return all chunks without amendments, from the index and, for those it lacks, from the manifests."""
        return self._complete(self._read_index())

    def _amend(self, chunks: Iterable[ChunkRef]) -> list[ChunkRef]:
        """Return chunks with the digests of their amendments."""
        log = self.amendments()
        amended = {target.chunk for amendment in log for target in amendment.targets}
        return [
            replace(chunk, digest=amended_digest(chunk.digest, chunk.name, log)) if chunk.name in amended else chunk
            for chunk in chunks
        ]

    def amendments(self) -> list[Amendment]:
        """Return the log of amendments."""
        try:
            cached = json.loads(self._files.read(_AMENDMENTS) or b"[]")
            log = [amendments.decode(entry, number) for number, entry in enumerate(cached)]
        except (ValueError, TypeError, RecursionError, PlanError):
            log = []  # a damaged cache is rebuilt
        log += [amendments.decode(entry, number) for number, entry in self._files.read_log(_LOG, len(log))]
        return log

    def amend(self, kind: str, targets: Iterable[Target], reason: str, at: datetime) -> Amendment:
        """Append an amendment to the log."""
        named, stamp = tuple(targets), at.astimezone(UTC).isoformat()
        while True:
            entry = Amendment(len(self.amendments()), kind, named, reason, stamp)
            created = self.add_amendment(entry)
            log = self.amendments()
            if created or log[entry.number] == entry:  # its own one, when the response to the first attempt was lost
                self._files.overwrite(_AMENDMENTS, json.dumps([amendments.as_json(one) for one in log]).encode())
                return entry

    def add_amendment(self, entry: Amendment) -> bool:
        """Store an amendment; return False when its number exists, perhaps as this same one."""
        return self._files.append(_LOG, entry.number, amendments.as_json(entry))

    def write_index(self, created: Iterable[ChunkRef] = ()) -> list[ChunkRef]:
        """Update the index; return all chunks. `created` ones are not read again.

        Manifests are synced before the index names them. The last writer wins: two writers never contradict each other.
        """
        indexed = self._read_index()
        planned = self._complete({**indexed, **{chunk.name: chunk for chunk in created}})
        rows = [[*chunk.name, chunk.digest, chunk.episodes] for chunk in planned]
        self._files.sync(_path(*chunk.name) for chunk in planned if chunk.name not in indexed)
        self._files.overwrite(_INDEX, json.dumps(rows).encode())
        self._files.sweep()
        return self._amend(planned)

    def _read_index(self) -> dict[Name, ChunkRef]:
        try:
            rows = [ChunkRef(*row) for row in json.loads(self._files.read(_INDEX) or b"[]")]
            return {chunk.name: chunk for chunk in rows}
        except (ValueError, TypeError, RecursionError):
            return {}  # a damaged cache is rebuilt

    def _complete(self, index: Mapping[Name, ChunkRef]) -> list[ChunkRef]:
        names = self.names()
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


def _waiting(language: str) -> str:
    return f"plan/{language}/waiting.json"
