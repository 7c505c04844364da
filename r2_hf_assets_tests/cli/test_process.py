"""`r2-hf process`: which chunks it builds, which it skips, and when it stops."""

import io
import json
from typing import Any

import pytest
from dagster import DagsterInstance

from r2_hf_assets.assets import parquet_shards
from r2_hf_assets.cli import in_process
from r2_hf_assets.cli.process import select_chunks
from r2_hf_assets.errors import RetriesExhausted
from r2_hf_assets.plan import dispatch
from r2_hf_assets.plan.chunks import ChunkRef
from r2_hf_assets_tests.cli.calls import call, start
from r2_hf_assets_tests.support.world import World, materializations

SMALL = {"awkward": False, "expect": False, "segments": (2, 2), "seconds": (0.3, 0.4)}


@pytest.fixture
def four(shell: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Four planned chunks of one small episode: three of English, one of German."""
    monkeypatch.setenv("EPISODES_PER_CHUNK", "1")
    shell.upload(episodes={"en": 3, "de": 1}, **SMALL)
    assert shell.scan() is None
    return shell


def count_builds(world: World) -> int:
    """Count the runs of partitions."""
    with DagsterInstance.get() as instance:
        return sum("dagster/partition" in run.tags for run in instance.get_runs())


def test_languages_left_out_are_reported_and_not_built(
    four: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LANGUAGES", "en")
    refused = call(capfd, "process", "--partition", "en|chunk_0000", "--partition", "de|chunk_0000")
    message = "r2-hf: --partition de|chunk_0000: not planned, or left out by LANGUAGES; run scan, or see status"
    assert (refused.code, refused.stdout, refused.stderr) == (2, [], [f"{message} (see r2-hf process --help)"])
    four.write_dotenv(LANGUAGES="en")
    process = start(four, "process", "--limit", "1")  # the grid is made when the definitions are loaded
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0 and "Traceback" not in stderr, stderr
    assert four.files() == ["data/en/chunk-00000.parquet"]
    table = call(capfd, "status")
    assert "LANGUAGES leaves out 1 planned chunk: de 1" in table.stderr
    assert [line.split()[0] for line in table.stdout] == ["language", "en", "total"]
    numbers = json.loads("\n".join(call(capfd, "status", "--json").stdout))
    assert (numbers["left_out"], numbers["total"]["planned"], numbers["total"]["due"]) == ({"de": 1}, 3, 2)
    assert call(capfd, "process", "--dry-run").stdout == ["en|chunk_0001", "en|chunk_0002"]


def test_a_misspelt_setting_is_named(
    four: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EPISODE_PER_CHUNK", "500")
    line = "EPISODE_PER_CHUNK is no setting; did you mean EPISODES_PER_CHUNK?"
    assert call(capfd, "process", "--dry-run").stderr == [line, "would do 4 chunks, 4 episodes"]
    assert call(capfd, "scan").stderr[0] == line


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("HF_TOKEN", "hf_wrong", "set HF_TOKEN to a valid one"),
        ("KEEP_SHARDS", "1", "a file is in place of a folder"),
    ],
)
def test_a_systemic_failure_stops_it_at_the_first_chunk(
    four: World,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    variable: str,
    value: str,
    message: str,
) -> None:
    (four.folder / "dagster_home" / "r2_hf_assets" / "scratch").touch()
    with monkeypatch.context() as patch:
        patch.setenv(variable, value)
        result = call(capfd, "process")
    (first,) = [line for line in result.stderr if "FAILED" in line]
    assert result.code == 1
    assert first.startswith("de|chunk_0000: FAILED: ") and message in first
    assert result.stderr[-1] == (
        "0 chunks done, 1 failed; stopped, because the last failure is of a kind that every run would meet; 4 not done"
    )
    assert count_builds(four) == 1
    assert call(capfd, "process").code == 0 and four.due() == []


def test_a_series_of_failures_stops_it(
    four: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RetriesExhausted("GET x: 503 eight times")

    monkeypatch.setattr(dispatch, "MAX_CONSECUTIVE_FAILURES", 2)
    with monkeypatch.context() as patch:
        patch.setattr(parquet_shards, "build_on_hub", fails)
        result = call(capfd, "process")
    assert result.code == 1
    assert result.stderr[-1] == "0 chunks done, 2 failed; stopped, because the last 2 runs failed; 4 not done"
    assert count_builds(four) == 2


def test_a_chunk_committed_by_another_process_is_skipped(
    four: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The other process runs before the first chunk of this one."""
    four.write_dotenv(EPISODES_PER_CHUNK="1")
    real, other = in_process.execute, iter([["process", "--language", "en", "--limit", "2", "--no-card"]])

    def after_the_other(*arguments: Any, **options: Any) -> Any:
        for words in other:
            process = start(four, *words)
            _, stderr = process.communicate(timeout=120)
            assert process.returncode == 0, stderr
        return real(*arguments, **options)

    monkeypatch.setattr(in_process, "execute", after_the_other)
    result = call(capfd, "process", "--no-card")
    assert result.code == 0
    assert result.stderr[-1] == "2 chunks done, 0 failed, 2 committed by other runs"
    skipped = [line for line in result.stderr if line.endswith("of 4") and "skipped" in line]
    assert [line.split(": ")[0] for line in skipped] == ["en|chunk_0000", "en|chunk_0001"]
    assert skipped[0].startswith("en|chunk_0000: skipped, another run has committed it; ")
    assert len(materializations(four, "hub_commit")) == len(four.commits()) == 4


def test_a_named_partition_is_built_again(
    four: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert call(capfd, "process", "--language", "de", "--no-card").code == 0
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"de|chunk_0000\n")))
    result = call(capfd, "process", "--partition", "-", "--no-card")
    assert (result.code, result.stderr[-1]) == (0, "1 chunk done, 0 failed")
    assert len(materializations(four, "hub_commit", "de|chunk_0000")) == 2


def chunks_named(*names: str) -> list[ChunkRef]:
    split = (name.split("/") for name in names)
    return [ChunkRef(language, int(number), "d", 1) for language, number in split]


@pytest.mark.parametrize(
    ("options", "selected"),
    [
        ((frozenset(), 1, 0, None), ["de/0", "en/0", "en/1", "en/2", "en/3"]),
        ((frozenset({"en"}), 1, 0, None), ["en/0", "en/1", "en/2", "en/3"]),
        ((frozenset(), 2, 0, None), ["de/0", "en/0", "en/2"]),
        ((frozenset(), 2, 1, None), ["en/1", "en/3"]),
        ((frozenset({"en"}), 2, 0, 1), ["en/0"]),
        ((frozenset({"fr"}), 1, 0, None), []),
    ],
)
def test_select_chunks(options: tuple, selected: list[str]) -> None:
    chunks = chunks_named("de/0", "en/0", "en/1", "en/2", "en/3")
    assert select_chunks(chunks, *options) == chunks_named(*selected)
