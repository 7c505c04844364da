"""Commits on any head, with concurrent commits and failing calls: afterwards the head holds exactly the chunk's files,
all other files are unchanged, and nothing was committed twice."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from r2_hf_assets.errors import AccessError, DamagedShard, RetriesExhausted
from r2_hf_assets.hub.card.merge import CARD_PATH
from r2_hf_assets.hub.card.text import CARD
from r2_hf_assets.hub.client import RemoteFile
from r2_hf_assets.hub.commit import CommitRecord, commit_chunk
from r2_hf_assets.hub.ownership import OWNER_PATH
from r2_hf_assets.hub.reads import check_on_hub
from r2_hf_assets.retry import Retry
from r2_hf_assets.shards.names import DATA, METADATA
from r2_hf_assets.shards.record import BuildRecord
from r2_hf_assets_tests.hub.fake_repo import FakeRepo, Files, built, remote
from r2_hf_assets_tests.property.interleaving import Interleaving

PATIENT = Retry(attempts=12, sleep=lambda seconds: None, jitter=lambda: 0.0)
CALLS = ("head", "files", "commit", "create_repo")
CHUNK_PATHS = [
    "metadata/en/chunk-00007.parquet",
    "data/en/chunk-00007.parquet",
    *(f"data/en/chunk-00007-part-{part:02d}.parquet" for part in range(5)),
]
OTHER_PATHS = [
    "README.md",
    "data/en/chunk-00006.parquet",
    "data/en/chunk-00070-part-00.parquet",
    "data/de/chunk-00007.parquet",
    "metadata/en/chunk-00070.parquet",
    "metadata/de/chunk-00007.parquet",
]

contents = st.sampled_from([b"", b"a", b"b", b"other"])
# The index first, then the parts; [] is a record without any file.
parts = st.lists(contents, max_size=5)
remotes = st.builds(
    lambda path, data, in_lfs: remote(path, data) if in_lfs else replace(remote(path, data), sha256=None),
    st.sampled_from(CHUNK_PATHS + OTHER_PATHS),
    contents,
    st.integers(0, 5).map(bool),
)
heads = st.lists(remotes, max_size=8, unique_by=lambda file: file.path)
transient = st.sampled_from([500, 503, 429, 409, 412, 408, ConnectionResetError("reset"), TimeoutError("no answer")])
refusals = st.sampled_from([400, 401, 403])


@dataclass(frozen=True)
class Event:
    """What happens at a call: an error, before or after its work, or another writer's commit right before it."""

    call: str
    after: bool = False
    error: int | Exception | None = None
    put: RemoteFile | None = None


errors = st.builds(Event, st.sampled_from(CALLS), st.booleans(), transient)
other_commits = st.builds(Event, st.sampled_from(CALLS[:3]), put=remotes)


class Case:
    """A repo with a head, and events at its calls."""

    def __init__(self, head: list[RemoteFile] | None, events: list[Event]) -> None:
        self.repo = FakeRepo(head or (), exists=head is not None)
        self.repo.retry = PATIENT
        self.others = other_files(self.repo.now) if head is not None else {}
        self.conflicts = self.puts = 0
        for event in events:
            if event.put is not None:
                self.repo.before(event.call, partial(self._put, event.put))
            elif event.error is not None:
                self.repo.fail(event.call, event.error, after=event.after)

    def _put(self, file: RemoteFile) -> None:
        if self.repo.revisions:  # only an existing repo has concurrent commits
            self.repo.put(file)
            self.puts += 1
            self.conflicts += file.path in CHUNK_PATHS
            self.others |= other_files({file.path: file})

    def commit(self, record: BuildRecord, repo: Any = None) -> CommitRecord:
        return commit_chunk(repo or self.repo, record, self.repo.claim())

    def drop_events(self) -> None:
        """Drop the remaining events."""
        self.repo._before.clear()
        self.repo._after.clear()

    def count_commits(self, at_first: int) -> int:
        """Count the commits without those of other writers and the first `at_first`."""
        return len(self.repo.revisions) - at_first - self.puts


def other_files(files: Files) -> Files:
    """Return all files but the chunk's and the two of a plan's first commit."""
    first = {OWNER_PATH: files.get(OWNER_PATH), CARD_PATH: remote(CARD_PATH, CARD)}
    return {path: file for path, file in files.items() if path not in CHUNK_PATHS and first.get(path) != file}


def record_of(data: list[bytes], **name: Any) -> BuildRecord:
    return built(*data[1:], index=data[0], **name) if data else built(**name)


def chunk_files(files: Files) -> Files:
    return {path: file for path, file in files.items() if path in CHUNK_PATHS}


def expected_files(record: BuildRecord, data: list[bytes]) -> Files:
    paths = [file.path for file in record.all_files]
    return {path: remote(path, content) for path, content in zip(paths, data[1:] + data[:1], strict=True)}


@given(st.none() | heads, parts, st.lists(errors | other_commits, max_size=10))
def test_after_a_commit_the_head_holds_the_chunk_and_all_other_files(head, data, events):
    case = Case(head, events)
    record = record_of(data)
    equal = head is not None and chunk_files(case.repo.now) == expected_files(record, data)
    done = case.commit(record)
    case.drop_events()
    at_done = case.repo.revisions[int(done.oid.removeprefix("oid-"))]
    assert chunk_files(at_done) == expected_files(record, data)
    assert other_files(case.repo.now) == case.others
    committed = case.count_commits(1)
    assert committed <= 1 + case.conflicts
    assert committed == 0 or not equal or case.conflicts
    assert not done.committed or committed
    assert check_on_hub(case.repo, record, done.oid).passed
    commits = case.repo.calls["commit"]
    if case.repo.head() == done.oid:
        assert not case.commit(record).committed and case.repo.calls["commit"] == commits


@given(st.none() | heads, parts, st.sampled_from(CALLS), st.booleans(), refusals, st.lists(other_commits, max_size=3))
def test_a_refusal_leaves_the_whole_chunk_or_its_existing_files(head, data, call, after, status, events):
    case = Case(head, [*events, Event(call, after, status)])
    before = chunk_files(case.repo.now) if head is not None else {}
    record = record_of(data)
    try:
        case.commit(record)
    except (AccessError, DamagedShard) as error:
        assert "\n" not in str(error) and not error.transient
    now = case.repo.now if case.repo.revisions else {}
    assert other_files(now) == case.others
    if not case.conflicts:
        assert chunk_files(now) in (before, expected_files(record, data))


@given(heads, parts, st.sampled_from(CALLS[:3]), st.booleans())
def test_a_lasting_error_exhausts_the_retries_without_a_partial_commit(head, data, call, after):
    case = Case(head, [Event(call, after, 503)] * 40)
    before, record = chunk_files(case.repo.now), record_of(data)
    try:
        case.commit(record)
    except RetriesExhausted as error:
        assert error.transient
    assert case.count_commits(1) <= 1
    assert other_files(case.repo.now) == case.others
    assert chunk_files(case.repo.now) in (before, expected_files(record, data))


@given(st.none() | heads, parts, st.sets(st.integers(0, 4)), st.lists(other_commits, max_size=3))
def test_lost_content_leaves_the_whole_chunk_or_its_existing_files(head, data, lost, events):
    case = Case(head, events)
    before = chunk_files(case.repo.now) if head is not None else {}
    record = record_of(data)
    files = [file for part, file in enumerate(record.all_files) if part in lost]
    case.repo.lose(replace(record, files=tuple(files), index=None))
    try:
        done = case.commit(record)
    except DamagedShard:
        assert files and case.count_commits(1) <= 0
        assert case.conflicts or chunk_files(case.repo.now) == before
    else:
        assert chunk_files(case.repo.revisions[int(done.oid.removeprefix("oid-"))]) == expected_files(record, data)
    assert other_files(case.repo.now) == case.others


class InterleavedRepo:
    """A repo whose calls are steps of a worker."""

    def __init__(self, repo: FakeRepo, interleaving: Interleaving, worker: int) -> None:
        self._repo, self._interleaving, self._worker = repo, interleaving, worker

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._repo, name)
        return self._as_step(attribute) if callable(attribute) else attribute

    def _as_step(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            with self._interleaving.step(self._worker):
                return method(*arguments)

        return call


@given(
    st.none() | heads,
    parts,
    st.lists(st.tuples(st.integers(7, 9), st.sampled_from(["en", "de"])), min_size=2, max_size=3),
    st.lists(st.integers(0, 2), max_size=40),
    st.lists(errors, max_size=4),
)
def test_concurrent_commits_all_succeed_in_any_order_of_calls(head, data, chunks, order, events):
    """The same chunk is committed once, different chunks once each."""
    case = Case(head, events)
    records = [record_of(data, number=number, language=language) for number, language in chunks]
    stems = tuple(f"{root}/{language}/chunk-{number:05d}" for root in (DATA, METADATA) for number, language in chunks)
    untouched = {path: file for path, file in case.repo.now.items() if not path.startswith(stems)} if head else {}
    interleaving = Interleaving(order, len(records))
    repos = [InterleavedRepo(case.repo, interleaving, worker) for worker in range(len(records))]
    results = interleaving.run(*(partial(case.commit, *both) for both in zip(records, repos, strict=True)))
    assert all(isinstance(result, CommitRecord) for result in results)
    for record in records:
        assert expected_files(record, data).items() <= case.repo.now.items()
    assert untouched.items() <= case.repo.now.items()
    assert case.count_commits(1) <= len(set(chunks))
