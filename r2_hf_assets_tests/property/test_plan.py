"""The plan after any sequence of scans: sealed chunks never change, and every episode is in exactly one.

Listings grow and shrink; chunk sizes and language filters change; remainders are held back; two scans interleave at any
call to the store, and die at any call.
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
from r2_hf_assets.plan.check import check_plan
from r2_hf_assets.plan.scan import ScanReport, ScanRules, scan
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets.verdict import Severity
from r2_hf_assets_tests.property.interleaving import Interleaving, Killed
from r2_hf_assets_tests.support import store_gets
from r2_hf_assets_tests.support.build_samples import NO_WAIT, PREFIX, use_obstore
from r2_hf_assets_tests.support.store_gets import StoreBucket

EPISODES = [f"{folder}/{n}" for folder in ("en", "en-US", "ENG", "deu", "junk") for n in range(5)]
EVERY = frozenset(LANGUAGES)
DAY = timedelta(hours=24)
START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class ScanInput:
    """The input of one scan: the listed episodes as "<folder>/<episode>", in order, and the rules."""

    listed: tuple[str, ...]
    rules: ScanRules

    def folders(self, prefix: str) -> list[str]:
        """Return the folders of a listing with a delimiter."""
        below = [f"{PREFIX}{episode}/".removeprefix(prefix) for episode in self.listed]
        names = [
            rest.split("/")[0]
            for rest, episode in zip(below, self.listed, strict=True)
            if f"{PREFIX}{episode}/".startswith(prefix)
        ]
        return [f"{prefix}{name}/" for name in dict.fromkeys(names)]

    def of(self, language: str) -> list[str]:
        """Return the episodes of a language, folder by folder."""
        folders = dict.fromkeys(episode.split("/")[0] for episode in self.listed)
        return [
            e for folder in folders if normalize(folder) == language for e in self.listed if e.split("/")[0] == folder
        ]


@dataclass(frozen=True)
class Round:
    """Concurrent scans, the order of their calls to the store, where they die, and hours since the previous round."""

    scans: tuple[ScanInput, ...]
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
scan_inputs = st.builds(ScanInput, listings.map(sorted).map(tuple), rules)
rounds = st.builds(
    Round,
    scans=st.lists(scan_inputs, min_size=1, max_size=2).map(tuple),
    order=st.lists(st.integers(0, 1), min_size=30, max_size=60).map(tuple),
    dies_at=st.dictionaries(st.integers(0, 1), st.integers(0, 40), max_size=1),
    hours=st.integers(0, 30),
)


class Scanners:
    """Scanners that share one state store. `plan` reads it outside the interleaving."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.store = MemoryStore()
        self.plan = self.plan_store(None)
        self.now = START
        names = ("get", "put", "list")
        use_obstore(patch, plan_files, **{name: self._as_step(name) for name in names})
        use_obstore(
            patch, store_gets, list_with_delimiter=lambda given_, prefix: {"common_prefixes": given_.folders(prefix)}
        )

    def plan_store(self, handle: Any) -> PlanStore:
        return PlanStore(handle, "podcasts", PREFIX, NO_WAIT)

    def _as_step(self, name: str) -> Any:
        def call(handle: Any, *arguments: Any, **options: Any) -> Any:
            if handle is None:
                return getattr(obstore, name)(self.store, *arguments, **options)
            interleaving, worker = handle
            with interleaving.step(worker):
                result = getattr(obstore, name)(self.store, *arguments, **options)
                return list(result) if name == "list" else result

        return call

    def scan(self, given_: ScanInput, handle: Any = None) -> ScanReport:
        return scan(StoreBucket(given_), self.plan_store(handle), given_.rules, now=lambda: self.now)

    def run(self, round_: Round) -> list[Any]:
        interleaving = Interleaving(round_.order, len(round_.scans), round_.dies_at)
        self.now += timedelta(hours=round_.hours)
        handles = [(interleaving, worker) for worker in range(len(round_.scans))]
        return interleaving.run(*(partial(self.scan, *both) for both in zip(round_.scans, handles, strict=True)))

    def manifests(self) -> dict[str, bytes]:
        paths = [item["path"] for batch in obstore.list(self.store, "plan") for item in batch]
        return {path: bytes(obstore.get(self.store, path).bytes()) for path in paths if "/chunk_" in path}

    def members(self) -> dict[str, list[tuple[str, ...]]]:
        """Return the episodes by language and chunk; a gap in the numbers or a wrong digest raises."""
        numbers = self.plan.numbers()
        return {
            language: [chunk.episodes for chunk in self.plan.read_many((language, n) for n in chunk_numbers)]
            for language, chunk_numbers in numbers.items()
        }

    def planned(self) -> Counter[str]:
        return Counter(episode for chunks in self.members().values() for chunk in chunks for episode in chunk)


@given(st.lists(rounds, min_size=1, max_size=5))
def test_no_sequence_of_scans_moves_duplicates_or_loses_an_episode(history):
    with pytest.MonkeyPatch.context() as patch:
        scanners = Scanners(patch)
        known: dict[str, bytes] = {}
        for round_ in history:
            reports = scanners.run(round_)
            assert not [report for report in reports if not isinstance(report, ScanReport | Killed)]
            manifests = scanners.manifests()
            assert known.items() <= manifests.items(), "a sealed chunk changed"
            known = manifests
            assert set(scanners.planned().values()) <= {1}
            for language, chunks in scanners.members().items():
                assert {normalize(episode.split("/")[0]) for chunk in chunks for episode in chunk} == {language}
        everything = ScanInput(tuple(EPISODES), ScanRules(EVERY, 4))
        scanners.scan(everything)
        assert known.items() <= scanners.manifests().items()
        assert scanners.planned() == Counter(EPISODES)
        verdict = check_plan(scanners.plan)
        assert verdict.severity is Severity.WARN and "junk" in verdict.summary


@given(st.lists(scan_inputs, min_size=1, max_size=4), scan_inputs)
def test_a_scan_appends_new_episodes_in_listing_order_and_holds_back_less_than_a_chunk(before, last):
    with pytest.MonkeyPatch.context() as patch:
        scanners = Scanners(patch)
        for earlier in before:
            scanners.scan(earlier)
            scanners.now += timedelta(hours=7)
        planned, size = scanners.planned(), last.rules.episodes_per_chunk
        report = scanners.scan(last)
        for language in last.rules.languages & {"en", "de", "unknown"}:
            listed = last.of(language)
            new = [episode for episode in listed if episode not in planned]
            chunks = [chunk.episodes for chunk in report.new_chunks if chunk.language == language]
            sealed = [episode for chunk in chunks for episode in chunk]
            waiting = new[len(sealed) :]
            assert sealed == new[: len(sealed)]
            assert all(len(chunk) == size for chunk in chunks[: None if waiting else -1])
            assert len(waiting) < size and (not waiting or last.rules.hold_back == DAY)
            assert all(len(chunk) <= size for chunk in chunks)
            counts = report.already_planned[language], report.newly_planned[language], report.waiting[language]
            assert counts == (len(listed) - len(new), len(sealed), len(waiting))
            assert report.seen[language] == len(listed)
        assert {chunk.language for chunk in report.new_chunks} <= last.rules.languages
        assert report.planned == scanners.plan.planned()


@given(st.lists(scan_inputs, max_size=3), scan_inputs)
def test_no_episode_is_held_back_longer_than_hold_back(before, last):
    automatic = ScanInput(last.listed, ScanRules(EVERY, last.rules.episodes_per_chunk, DAY))
    with pytest.MonkeyPatch.context() as patch:
        scanners = Scanners(patch)
        for earlier in before:
            scanners.scan(earlier)
        scanners.scan(automatic)
        scanners.now += DAY
        assert +scanners.scan(automatic).waiting == {}
        assert set(last.listed) <= set(scanners.planned())
