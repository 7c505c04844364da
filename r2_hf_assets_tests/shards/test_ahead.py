"""BuildAhead: what was announced is handed over, any other is built when it is wanted, and none stays behind."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from r2_hf_assets.shards.ahead import BuildAhead, Progress
from r2_hf_assets.shards.build import Build
from r2_hf_assets.shards.record import BuildRecord, Tally


class Bench:
    """Builds that say when they begin and end, wait when told to, and may fail."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.begun = threading.Event()
        self.failures = 0

    def building(self, name: str):
        @contextmanager
        def build(progress: Progress) -> Iterator[Build]:
            where = "ahead" if threading.current_thread() is not threading.main_thread() else "now"
            self.said.append(f"{name} {where}")
            self.begun.set()
            try:
                assert self.go_on.wait(30)
                progress(Tally())
                if self.failures:
                    self.failures -= 1
                    raise OSError("no luck")
                yield Build(BuildRecord("en", 0, name, (), None, Tally()), (), None)
            finally:
                self.said.append(f"{name} gone")

        return build


@pytest.fixture
def bench() -> Bench:
    return Bench()


def taken(ahead: BuildAhead, bench: Bench, name: str) -> None:
    with ahead.built(name, bench.building(name), lambda _: None) as build:
        assert build.record.digest == name
        bench.said.append(f"{name} used")


def test_nothing_announced_is_built_when_it_is_wanted(bench):
    ahead = BuildAhead()
    ahead.begin()
    taken(ahead, bench, "a")
    assert bench.said == ["a now", "a used", "a gone"]


def test_what_was_announced_is_begun_ahead_and_handed_over_once(bench):
    ahead = BuildAhead()
    ahead.announce("b", bench.building("b"))
    taken(ahead, bench, "a")
    ahead.begin()
    assert bench.begun.wait(30)
    taken(ahead, bench, "b")
    taken(ahead, bench, "b")
    assert bench.said == ["a now", "a used", "a gone", "b ahead", "b used", "b gone", "b now", "b used", "b gone"]


def test_its_files_are_there_while_it_is_used_even_when_the_thread_was_slow(bench):
    ahead = BuildAhead()
    bench.go_on.clear()
    ahead.announce("b", bench.building("b"))
    ahead.begin()
    assert bench.begun.wait(30)
    threading.Timer(0.05, bench.go_on.set).start()
    taken(ahead, bench, "b")
    assert bench.said == ["b ahead", "b used", "b gone"]


def test_another_chunk_than_the_one_begun_is_built_now_and_the_other_is_cleaned_away(bench):
    ahead = BuildAhead()
    ahead.announce("b", bench.building("b"))
    ahead.begin()
    assert bench.begun.wait(30)
    taken(ahead, bench, "c")
    assert bench.said[-3:] == ["c now", "c used", "c gone"]
    assert bench.said.count("b gone") == 1 and bench.said.index("b gone") < bench.said.index("c now")


def test_a_build_that_failed_ahead_is_made_again_and_its_trouble_is_met_there(bench):
    ahead = BuildAhead()
    bench.failures = 2
    ahead.announce("b", bench.building("b"))
    ahead.begin()
    with pytest.raises(OSError, match="no luck"), ahead.built("b", bench.building("b"), lambda _: None):
        pass
    assert bench.said == ["b ahead", "b gone", "b now", "b gone"]
    taken(ahead, bench, "b")


def test_dropping_ends_the_build_and_removes_its_files(bench):
    ahead = BuildAhead()
    bench.go_on.clear()
    ahead.announce("b", bench.building("b"))
    ahead.begin()
    assert bench.begun.wait(30)
    threading.Timer(0.05, bench.go_on.set).start()
    ahead.drop()
    assert bench.said == ["b ahead", "b gone"]
    ahead.drop()
    assert not [thread for thread in threading.enumerate() if thread.name == "build-ahead"]


def test_dropping_a_finished_build_removes_its_files(bench):
    ahead = BuildAhead()
    ahead.announce("b", bench.building("b"))
    ahead.begin()
    assert bench.begun.wait(30)
    ahead.drop()
    assert bench.said == ["b ahead", "b gone"]


def test_a_failing_use_leaves_nothing_behind(bench):
    ahead = BuildAhead()
    ahead.announce("b", bench.building("b"))
    ahead.begin()
    with pytest.raises(KeyError), ahead.built("b", bench.building("b"), lambda _: None):
        raise KeyError
    assert bench.said == ["b ahead", "b gone"]


def test_who_watches_hears_of_every_build_ahead_or_not(bench):
    ahead = BuildAhead()
    heard: list[str] = []
    with ahead.watched(lambda digest, tally: heard.append(digest)):
        taken(ahead, bench, "a")
        ahead.announce("b", bench.building("b"))
        ahead.begin()
        taken(ahead, bench, "b")
    taken(ahead, bench, "c")
    assert heard == ["a", "b"]
    assert "b ahead" in bench.said
