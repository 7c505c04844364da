"""Commits, whatever the head holds, whoever commits in between and whichever call fails: afterwards the head holds
exactly the chunk's shards, everybody else's files are as they were, and nothing was committed twice."""

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
from r2_hf_assets.shards.names import path_in_repo
from r2_hf_assets.shards.record import BuildRecord
from r2_hf_assets_tests.hub.fake_repo import FakeRepo, Files, built, remote
from r2_hf_assets_tests.property.turns import Turns

PATIENT = Retry(attempts=12, sleep=lambda seconds: None, jitter=lambda: 0.0)
CALLS = ("head", "files", "commit", "create_repo")
OURS = ["data/en/chunk-00007.parquet", *(f"data/en/chunk-00007-part-{part:02d}.parquet" for part in range(5))]
THEIRS = [
    "README.md",
    "data/en/chunk-00006.parquet",
    "data/en/chunk-00070-part-00.parquet",
    "data/de/chunk-00007.parquet",
]

contents = st.sampled_from([b"", b"a", b"b", b"other"])
parts = st.lists(contents, max_size=4)
remotes = st.builds(
    lambda path, data, in_lfs: remote(path, data) if in_lfs else replace(remote(path, data), sha256=None),
    st.sampled_from(OURS + THEIRS),
    contents,
    st.integers(0, 5).map(bool),
)
heads = st.lists(remotes, max_size=8, unique_by=lambda file: file.path)
troubles = st.sampled_from([500, 503, 429, 409, 412, 408, ConnectionResetError("reset"), TimeoutError("no answer")])
refusals = st.sampled_from([400, 401, 403])


@dataclass(frozen=True)
class Event:
    """What a call meets: an error, before or after its work, or somebody's commit right before it."""

    call: str
    after: bool = False
    error: int | Exception | None = None
    put: RemoteFile | None = None


errors = st.builds(Event, st.sampled_from(CALLS), st.booleans(), troubles)
competitors = st.builds(Event, st.sampled_from(CALLS[:3]), put=remotes)


class Case:
    """A repo in some state, a chunk to commit, and what happens meanwhile."""

    def __init__(self, head: list[RemoteFile] | None, events: list[Event]) -> None:
        self.repo = FakeRepo(head or (), exists=head is not None)
        self.repo.retry = PATIENT
        self.others = theirs(self.repo.now) if head is not None else {}
        self.disturbed = self.puts = 0
        for event in events:
            if event.put is not None:
                self.repo.before(event.call, partial(self._put, event.put))
            elif event.error is not None:
                self.repo.fail(event.call, event.error, after=event.after)

    def _put(self, file: RemoteFile) -> None:
        if self.repo.revisions:  # nobody can commit to a repo that is not there
            self.repo.put(file)
            self.puts += 1
            self.disturbed += file.path in OURS
            self.others |= theirs({file.path: file})

    def commit(self, record: BuildRecord, repo: Any = None) -> CommitRecord:
        return commit_chunk(repo or self.repo, record, self.repo.claim())

    def calm(self) -> None:
        """From now on nothing happens any more."""
        self.repo._before.clear()
        self.repo._after.clear()

    def made(self, at_first: int) -> int:
        """Commits that were not somebody's `put`, and not the making of the repo."""
        return len(self.repo.revisions) - at_first - self.puts


def theirs(files: Files) -> Files:
    """All but the chunk's files, and the two that come with a plan's first commit."""
    first = {OWNER_PATH: files.get(OWNER_PATH), CARD_PATH: remote(CARD_PATH, CARD)}
    return {path: file for path, file in files.items() if path not in OURS and first.get(path) != file}


def ours(files: Files) -> Files:
    return {path: file for path, file in files.items() if path in OURS}


def wanted(record: BuildRecord, data: list[bytes]) -> Files:
    paths = [path_in_repo(record.language, file.name) for file in record.files]
    return {path: remote(path, content) for path, content in zip(paths, data, strict=True)}


@given(st.none() | heads, parts, st.lists(errors | competitors, max_size=10))
def test_afterwards_the_head_holds_the_chunk_and_everybody_elses_files(head, data, events):
    case = Case(head, events)
    record = built(*data)
    equal = head is not None and ours(case.repo.now) == wanted(record, data)
    done = case.commit(record)
    case.calm()
    at_done = case.repo.revisions[int(done.oid.removeprefix("oid-"))]
    assert ours(at_done) == wanted(record, data)
    assert theirs(case.repo.now) == case.others
    made = case.made(1)
    assert made <= 1 + case.disturbed
    assert made == 0 or not equal or case.disturbed
    assert not done.committed or made
    assert check_on_hub(case.repo, record, done.oid).passed
    again = case.repo.calls["commit"]
    if case.repo.head() == done.oid:
        assert not case.commit(record).committed and case.repo.calls["commit"] == again


@given(st.none() | heads, parts, st.sampled_from(CALLS), st.booleans(), refusals, st.lists(competitors, max_size=3))
def test_a_refusal_leaves_all_of_the_chunk_or_what_was_there(head, data, call, after, status, events):
    case = Case(head, [*events, Event(call, after, status)])
    before = ours(case.repo.now) if head is not None else {}
    record = built(*data)
    try:
        case.commit(record)
    except (AccessError, DamagedShard) as error:
        assert "\n" not in str(error) and not error.transient
    now = case.repo.now if case.repo.revisions else {}
    assert theirs(now) == case.others
    if not case.disturbed:
        assert ours(now) in (before, wanted(record, data))


@given(heads, parts, st.sampled_from(CALLS[:3]), st.booleans())
def test_trouble_without_end_is_given_up_and_leaves_nothing_half_visible(head, data, call, after):
    case = Case(head, [Event(call, after, 503)] * 40)
    before, record = ours(case.repo.now), built(*data)
    try:
        case.commit(record)
    except RetriesExhausted as error:
        assert error.transient
    assert case.made(1) <= 1
    assert theirs(case.repo.now) == case.others
    assert ours(case.repo.now) in (before, wanted(record, data))


@given(st.none() | heads, parts, st.sets(st.integers(0, 3)), st.lists(competitors, max_size=3))
def test_content_that_is_lost_leaves_all_of_the_chunk_or_what_was_there(head, data, lost, events):
    case = Case(head, events)
    before = ours(case.repo.now) if head is not None else {}
    record = built(*data)
    files = [file for part, file in enumerate(record.files) if part in lost]
    case.repo.lose(replace(record, files=tuple(files)))
    try:
        done = case.commit(record)
    except DamagedShard:
        assert files and case.made(1) <= 0
        assert case.disturbed or ours(case.repo.now) == before
    else:
        assert ours(case.repo.revisions[int(done.oid.removeprefix("oid-"))]) == wanted(record, data)
    assert theirs(case.repo.now) == case.others


class InTurn:
    """A repo each of whose calls waits for its turn."""

    def __init__(self, repo: FakeRepo, turns: Turns, player: int) -> None:
        self._repo, self._turns, self._player = repo, turns, player

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._repo, name)
        return self._turned(found) if callable(found) else found

    def _turned(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            with self._turns.step(self._player):
                return method(*arguments)

        return call


@given(
    st.none() | heads,
    parts,
    st.lists(st.tuples(st.integers(7, 9), st.sampled_from(["en", "de"])), min_size=2, max_size=3),
    st.lists(st.integers(0, 2), max_size=40),
    st.lists(errors, max_size=4),
)
def test_committers_side_by_side_in_any_order_of_calls_all_get_in(head, data, chunks, order, events):
    """Of the same chunk they make one commit, of different chunks one each."""
    case = Case(head, events)
    records = [built(*data, number=number, language=language) for number, language in chunks]
    stems = tuple(f"data/{language}/chunk-{number:05d}" for number, language in chunks)
    untouched = {path: file for path, file in case.repo.now.items() if not path.startswith(stems)} if head else {}
    turns = Turns(order, len(records))
    seats = [InTurn(case.repo, turns, player) for player in range(len(records))]
    done = turns.play(*(partial(case.commit, *both) for both in zip(records, seats, strict=True)))
    assert not [end for end in done if not isinstance(end, CommitRecord)]
    for record in records:
        assert wanted(record, data).items() <= case.repo.now.items()
    assert untouched.items() <= case.repo.now.items()
    assert case.made(1) <= len(set(chunks))
