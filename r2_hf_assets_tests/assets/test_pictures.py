"""The pictures of a materialization: which there are, what they say, within their budget; bad figures break none."""

import re
from array import array
from base64 import b64decode
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from r2_hf_assets.assets.pictures import chunk_pictures, plan_pictures
from r2_hf_assets.assets.progress import LanguageProgress
from r2_hf_assets.shards.build import Build
from r2_hf_assets.shards.observe import Observed, ValueCounts
from r2_hf_assets.shards.record import BuildRecord, Tally
from r2_hf_assets.shards.stats import DNSMOS_EDGES, DURATION_EDGES_S, Speaker, Stats
from r2_hf_assets.shards.verify import Audit
from r2_hf_assets.verdict import Severity, Verdict
from r2_hf_assets_tests.build_samples import chunk_of
from r2_hf_assets_tests.world import World, materializations

BUDGET = 15_000
NASTY = "<&>\0" * 500 + "世界" * 500
STATS = Stats(
    rows=200_000,
    episodes=990,
    audio_seconds=1_400_000.0,
    speakers=4211,
    duration_s=tuple(range(6000, 6000 - len(DURATION_EDGES_S) - 1, -1)),
    dnsmos=tuple(range(3000, 3000 + len(DNSMOS_EDGES) + 1)),
    languages={f"l{n}": 1000.0 * n for n in range(40)},
    rejects={f"a_rather_long_reason_number_{n}": n for n in range(1, 30)},
)
SPEAKERS = tuple(Speaker(f"processed/en/{NASTY}{n}", NASTY, 5000.0) for n in range(6))
PACE = tuple((1.3 * n, 130_000_000 * n) for n in range(1, 200))


def build(stats: Stats = STATS, speakers: tuple[Speaker, ...] = SPEAKERS, pace: Any = PACE) -> Build:
    observed = Observed(ValueCounts(), (), array("Q"), pace, speakers)
    record = BuildRecord("en", 0, "d", (), None, Tally(), stats)
    return Build(record, None, Verdict(True, Severity.ERROR, "fine"), Audit(chunk_of("en/a")), 1.0, observed)


def pictures(markdown: str) -> dict[str, str]:
    """Title of each picture by its name, after reading it as the UI does: through Markdown and base64."""
    assert len(markdown.encode()) < BUDGET
    found = re.findall(r"!\[([^\]]+)\]\(data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)", markdown)
    assert "\n\n".join(f"![{name}](data:image/svg+xml;base64,{data})" for name, data in found) == markdown
    titles = {}
    for name, data in found:
        root = ElementTree.fromstring(b64decode(data))
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        title = root.find("{*}text")
        assert title is not None
        titles[name] = "".join(title.itertext())
    return titles


def test_the_fullest_chunk_is_within_the_budget() -> None:
    assert pictures(chunk_pictures(build())["pictures"].value) == {
        "durations": f"Duration, seconds: {sum(STATS.duration_s):,} rows, {200_000 - sum(STATS.duration_s):,} null",
        "DNSMOS": f"DNSMOS: {sum(STATS.dnsmos):,} rows, {200_000 - sum(STATS.dnsmos):,} null",
        "hours by language": "Hours by language",
        "hours by speaker": "Hours by speaker: 4,211 speakers",
        "rejects by reason": "Rejected: 435",
        "throughput": "MB/s over the build: 100 on average, 100 at most",
    }


def test_a_chunk_without_a_row_shows_its_rejects_alone() -> None:
    nothing = build(Stats(rejects={"metadata_missing": 3}), (), ())
    assert pictures(chunk_pictures(nothing)["pictures"].value) == {"rejects by reason": "Rejected: 3"}
    assert chunk_pictures(build(Stats(), (), ())) == {}


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1.0, 1e9, 0.0])
def test_bad_seconds_break_no_picture(seconds: float) -> None:
    stats = replace(STATS, audio_seconds=seconds, languages={"en": seconds})
    drawn = chunk_pictures(build(stats, (Speaker("a/b", "S", seconds),), ((0.0, 5), (0.0, 9), (0.0, 12))))
    assert len(pictures(drawn["pictures"].value)) == 6


def language(name: str, planned: int = 3, built: int = 2, committed: int = 1) -> LanguageProgress:
    return LanguageProgress(name, planned, 1000 * planned, built, committed, 0, planned - committed, None)


def test_the_plan_shows_how_far_each_language_is() -> None:
    assert plan_pictures([]) == {}
    drawn = plan_pictures([language(f"{n:03d}", 9000, 8000, 7000) for n in range(184)])["pictures"].value
    assert pictures(drawn) == {
        "chunks by language": "Chunks: 1,656,000 planned 1,472,000 built 1,288,000 committed",
        "episodes by language": "Episodes planned: 1,656,000,000",
    }


def test_they_are_in_real_materializations(in_process: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world = in_process
    monkeypatch.setenv("PARQUET_ROWGROUP_BYTES", "20000")
    summary = world.upload(episodes={"en": 3}, awkward=False)
    world.store().delete(summary.rows[0].key)
    world.scan()
    assert [done.error for done in world.build_due()] == [None]
    shards = materializations(world, "parquet_shards")[0]
    found = pictures(shards["pictures"])
    names = ["durations", "DNSMOS", "hours by language", "hours by speaker", "rejects by reason", "throughput"]
    assert list(found) == names
    assert found["durations"] == f"Duration, seconds: {len(summary.rows) - 1} rows"
    assert found["rejects by reason"] == "Rejected: 1"
    world.scan()
    after, before = (metadata["pictures"] for metadata in materializations(world, "work_plan"))
    assert pictures(before)["chunks by language"] == "Chunks: 1 planned 0 built 0 committed"
    assert pictures(after)["chunks by language"] == "Chunks: 1 planned 1 built 1 committed"
