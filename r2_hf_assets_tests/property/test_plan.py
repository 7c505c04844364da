"""The plan under any sequence of scans: sealed chunks never change, and every episode stands in exactly one.

Listings grow and shrink; chunk sizes and language filters change; remainders are held back; two
scanners interleave at any call to the store, and die at any.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import obstore
import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.store import MemoryStore

from r2_hf_assets.languages import LANGUAGES, normalize
from r2_hf_assets.plan import files as plan_files
from r2_hf_assets.plan.scan import ScanReport, ScanRules, scan
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets.plan.verify import check_plan
from r2_hf_assets.verdict import Severity
from r2_hf_assets_tests.property.turns import Killed, Turns
from r2_hf_assets_tests.support import store_gets
from r2_hf_assets_tests.support.build_samples import NO_WAIT, PREFIX, use_obstore
from r2_hf_assets_tests.support.store_gets import StoreBucket

EPISODES = [f"{folder}/{n}" for folder in ("en", "en-US", "ENG", "deu", "junk") for n in range(5)]
EVERY = frozenset(LANGUAGES)
DAY = timedelta(hours=24)
START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Look:
    """One scan: the bucket as it is listed, "<folder>/<episode>" in this order, and the rules."""

    listed: tuple[str, ...]
    rules: ScanRules

    def folders(self, prefix: str) -> list[str]:
        """What a listing with a delimiter gives."""
        below = [f"{PREFIX}{episode}/".removeprefix(prefix) for episode in self.listed]
        found = [
            rest.split("/")[0]
            for rest, episode in zip(below, self.listed, strict=True)
            if f"{PREFIX}{episode}/".startswith(prefix)
        ]
        return [f"{prefix}{name}/" for name in dict.fromkeys(found)]

    def of(self, language: str) -> list[str]:
        """The episodes of a language, folder by folder."""
        folders = dict.fromkeys(episode.split("/")[0] for episode in self.listed)
        return [
            e for folder in folders if normalize(folder) == language for e in self.listed if e.split("/")[0] == folder
        ]


@dataclass(frozen=True)
class Round:
    """Scans side by side, the order of their calls to the store, who dies where, and hours since the round before."""

    looks: tuple[Look, ...]
    order: tuple[int, ...]
    dies_at: dict[int, int]
    hours: int


rules = st.builds(
    ScanRules,
    languages=st.sampled_from([EVERY, EVERY, frozenset({"en"}), frozenset({"de", "unknown"})]),
    episodes_per_chunk=st.integers(1, 6),
    hold_back=st.sampled_from([None, timedelta(0), DAY]),
)
listings = st.one_of(
    st.lists(st.sampled_from(EPISODES), unique=True, max_size=18),
    st.permutations(EPISODES).map(lambda shuffled: shuffled[:20]),
)
looks = st.builds(Look, listings.map(sorted).map(tuple), rules)
rounds = st.builds(
    Round,
    looks=st.lists(looks, min_size=1, max_size=2).map(tuple),
    order=st.lists(st.integers(0, 1), min_size=30, max_size=60).map(tuple),
    dies_at=st.dictionaries(st.integers(0, 1), st.integers(0, 40), max_size=1),
    hours=st.integers(0, 30),
)


class Scanners:
    """Scanners that share one state store. `plan` reads it undisturbed."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.store = MemoryStore()
        self.plan = self.of(None)
        self.now = START
        names = ("get", "put", "list")
        use_obstore(patch, plan_files, **{name: self._in_turn(name) for name in names})
        use_obstore(
            patch, store_gets, list_with_delimiter=lambda look, prefix: {"common_prefixes": look.folders(prefix)}
        )

    def of(self, seat: Any) -> PlanStore:
        return PlanStore(seat, "podcasts", PREFIX, NO_WAIT)

    def _in_turn(self, name: str) -> Any:
        def call(seat: Any, *arguments: Any, **options: Any) -> Any:
            if seat is None:
                return getattr(obstore, name)(self.store, *arguments, **options)
            turns, player = seat
            with turns.step(player):
                found = getattr(obstore, name)(self.store, *arguments, **options)
                return list(found) if name == "list" else found

        return call

    def scan(self, look: Look, seat: Any = None) -> ScanReport:
        return scan(StoreBucket(look), self.of(seat), look.rules, now=lambda: self.now)

    def play(self, round_: Round) -> list[Any]:
        turns = Turns(round_.order, len(round_.looks), round_.dies_at)
        self.now += timedelta(hours=round_.hours)
        return turns.play(*(partial(self.scan, look, (turns, player)) for player, look in enumerate(round_.looks)))

    def manifests(self) -> dict[str, bytes]:
        paths = [item["path"] for batch in obstore.list(self.store, "plan") for item in batch]
        return {path: bytes(obstore.get(self.store, path).bytes()) for path in paths if "/chunk_" in path}

    def members(self) -> dict[str, list[tuple[str, ...]]]:
        """Episodes by language, chunk by chunk; a gap in the numbers or an unsound digest raises."""
        numbers = self.plan.numbers()
        return {
            language: [chunk.episodes for chunk in self.plan.read_many((language, n) for n in found)]
            for language, found in numbers.items()
        }

    def planned(self) -> Counter[str]:
        return Counter(episode for chunks in self.members().values() for chunk in chunks for episode in chunk)


@given(st.lists(rounds, min_size=1, max_size=5))
def test_no_sequence_of_scans_shifts_splits_doubles_or_loses_an_episode(history):
    with pytest.MonkeyPatch.context() as patch:
        scanners = Scanners(patch)
        known: dict[str, bytes] = {}
        for round_ in history:
            reports = scanners.play(round_)
            assert not [report for report in reports if not isinstance(report, ScanReport | Killed)]
            found = scanners.manifests()
            assert known.items() <= found.items(), "a sealed chunk changed"
            known = found
            assert set(scanners.planned().values()) <= {1}
            for language, chunks in scanners.members().items():
                assert {normalize(episode.split("/")[0]) for chunk in chunks for episode in chunk} == {language}
        everything = Look(tuple(EPISODES), ScanRules(EVERY, 4))
        scanners.scan(everything)
        assert known.items() <= scanners.manifests().items()
        assert scanners.planned() == Counter(EPISODES)
        verdict = check_plan(scanners.plan)
        assert verdict.severity is Severity.WARN and "junk" in verdict.summary


@given(st.lists(looks, min_size=1, max_size=4), looks)
def test_a_scan_appends_what_is_new_in_listing_order_and_holds_back_less_than_a_chunk(before, look):
    with pytest.MonkeyPatch.context() as patch:
        scanners = Scanners(patch)
        for earlier in before:
            scanners.scan(earlier)
            scanners.now += timedelta(hours=7)
        planned, size = scanners.planned(), look.rules.episodes_per_chunk
        report = scanners.scan(look)
        for language in look.rules.languages & {"en", "de", "unknown"}:
            listed = look.of(language)
            fresh = [episode for episode in listed if episode not in planned]
            chunks = [chunk.episodes for chunk in report.new_chunks if chunk.language == language]
            sealed = [episode for chunk in chunks for episode in chunk]
            waiting = fresh[len(sealed) :]
            assert sealed == fresh[: len(sealed)]
            assert all(len(chunk) == size for chunk in chunks[: None if waiting else -1])
            assert len(waiting) < size and (not waiting or look.rules.hold_back == DAY)
            assert all(len(chunk) <= size for chunk in chunks)
            counts = report.already_planned[language], report.newly_planned[language], report.waiting[language]
            assert counts == (len(listed) - len(fresh), len(sealed), len(waiting))
            assert report.seen[language] == len(listed)
        assert {chunk.language for chunk in report.new_chunks} <= look.rules.languages
        assert report.planned == scanners.plan.planned()


@given(st.lists(looks, max_size=3), looks)
def test_nothing_waits_longer_than_it_may(before, look):
    automatic = Look(look.listed, ScanRules(EVERY, look.rules.episodes_per_chunk, DAY))
    with pytest.MonkeyPatch.context() as patch:
        scanners = Scanners(patch)
        for earlier in before:
            scanners.scan(earlier)
        scanners.scan(automatic)
        scanners.now += DAY
        assert +scanners.scan(automatic).waiting == {}
        assert set(look.listed) <= set(scanners.planned())
