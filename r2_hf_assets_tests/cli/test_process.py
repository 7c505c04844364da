"""`r2-hf process`: which chunks it takes, which it passes over, and when it stops."""

import io
import json
from typing import Any

import pytest
from dagster import DagsterInstance

from r2_hf_assets.assets import parquet_shards
from r2_hf_assets.cli import in_process as launch
from r2_hf_assets.cli.process import choose
from r2_hf_assets.errors import RetriesExhausted
from r2_hf_assets.plan import dispatch as turns
from r2_hf_assets.plan.chunks import ChunkRef
from r2_hf_assets_tests.cli.calls import call, start
from r2_hf_assets_tests.support.world import World, materializations

SMALL = {"awkward": False, "expect": False, "segments": (2, 2), "seconds": (0.3, 0.4)}


@pytest.fixture
def four(shell: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Four chunks of one small episode are planned: three of English, one of German."""
    monkeypatch.setenv("EPISODES_PER_CHUNK", "1")
    shell.upload(episodes={"en": 3, "de": 1}, **SMALL)
    assert shell.scan() is None
    return shell


def runs(world: World) -> int:
    """Runs that were to build something."""
    with DagsterInstance.get() as instance:
        return sum("dagster/partition" in run.tags for run in instance.get_runs())


def test_languages_left_out_are_said_and_nothing_else_is_done_with_them(
    four: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LANGUAGES", "en")
    refused = call(capfd, "process", "--partition", "en|chunk_0000", "--partition", "de|chunk_0000")
    said = "r2-hf: --partition de|chunk_0000: not planned, or left out by LANGUAGES; scan first, or see status"
    assert (refused.code, refused.stdout, refused.stderr) == (2, [], [f"{said} (see r2-hf process --help)"])
    four.write_dotenv(LANGUAGES="en")
    process = start(four, "process", "--limit", "1")  # the grid is made when the definitions are loaded
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0 and "Traceback" not in stderr, stderr
    assert four.files() == ["data/en/chunk-00000.parquet"]
    shown = call(capfd, "status")
    assert "LANGUAGES leaves out 1 planned chunks: de 1" in shown.stderr
    assert [line.split()[0] for line in shown.stdout] == ["language", "en", "total"]
    told = json.loads("\n".join(call(capfd, "status", "--json").stdout))
    assert (told["left_out"], told["total"]["planned"], told["total"]["due"]) == ({"de": 1}, 3, 2)
    assert call(capfd, "process", "--dry-run").stdout == ["en|chunk_0001", "en|chunk_0002"]


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("HF_TOKEN", "hf_wrong", "set HF_TOKEN to a valid one"),
        ("KEEP_SHARDS", "1", "a file stands where a folder should be"),
    ],
)
def test_a_failure_that_every_chunk_would_meet_stops_it_at_the_first(
    four: World,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    variable: str,
    value: str,
    said: str,
) -> None:
    (four.folder / "dagster_home" / "r2_hf_assets" / "scratch").touch()
    with monkeypatch.context() as patch:
        patch.setenv(variable, value)
        result = call(capfd, "process")
    (first,) = [line for line in result.stderr if "FAILED" in line]
    assert result.code == 1
    assert first.startswith("de|chunk_0000: FAILED: ") and said in first
    assert result.stderr[-1] == (
        "0 chunks done, 1 failed; stopped, because the last failure is of a kind that every run would meet; "
        "4 are not done"
    )
    assert runs(four) == 1
    assert call(capfd, "process").code == 0 and four.due() == []


def test_a_series_of_failures_stops_it(
    four: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def gives_up(*_: object, **__: object) -> None:
        raise RetriesExhausted("GET x: 503 eight times")

    monkeypatch.setattr(turns, "BAD_SERIES", 2)
    with monkeypatch.context() as patch:
        patch.setattr(parquet_shards, "build_on_hub", gives_up)
        result = call(capfd, "process")
    assert result.code == 1
    assert result.stderr[-1] == "0 chunks done, 2 failed; stopped, because the last 2 runs failed; 4 are not done"
    assert runs(four) == 2


def test_a_chunk_that_another_process_commits_meanwhile_is_passed_over(
    four: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The other one works while this one is at its first chunk."""
    four.write_dotenv(EPISODES_PER_CHUNK="1")
    real, other = launch.execute, iter([["process", "--language", "en", "--limit", "2", "--no-card"]])

    def after_the_other(*arguments: Any, **options: Any) -> Any:
        for words in other:
            process = start(four, *words)
            _, stderr = process.communicate(timeout=120)
            assert process.returncode == 0, stderr
        return real(*arguments, **options)

    monkeypatch.setattr(launch, "execute", after_the_other)
    result = call(capfd, "process", "--no-card")
    assert result.code == 0
    assert result.stderr[-1] == "2 chunks done, 0 failed, 2 committed by others"
    passed = [line for line in result.stderr if line.endswith("of 4") and "passed over" in line]
    assert [line.split(": ")[0] for line in passed] == ["en|chunk_0000", "en|chunk_0001"]
    assert passed[0].startswith("en|chunk_0000: committed by another run meanwhile, passed over; ")
    assert len(materializations(four, "hub_commit")) == len(four.commits()) == 4


def test_a_partition_that_is_named_is_done_whoever_did_it_before(
    four: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert call(capfd, "process", "--language", "de", "--no-card").code == 0
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"de|chunk_0000\n")))
    result = call(capfd, "process", "--partition", "-", "--no-card")
    assert (result.code, result.stderr[-1]) == (0, "1 chunks done, 0 failed")
    assert len(materializations(four, "hub_commit", "de|chunk_0000")) == 2


def planned(*names: str) -> list[ChunkRef]:
    split = (name.split("/") for name in names)
    return [ChunkRef(language, int(number), "d", 1) for language, number in split]


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ((frozenset(), 1, 0, None), ["de/0", "en/0", "en/1", "en/2", "en/3"]),
        ((frozenset({"en"}), 1, 0, None), ["en/0", "en/1", "en/2", "en/3"]),
        ((frozenset(), 2, 0, None), ["de/0", "en/0", "en/2"]),
        ((frozenset(), 2, 1, None), ["en/1", "en/3"]),
        ((frozenset({"en"}), 2, 0, 1), ["en/0"]),
        ((frozenset({"fr"}), 1, 0, None), []),
    ],
)
def test_choose(options: tuple, chosen: list[str]) -> None:
    chunks = planned("de/0", "en/0", "en/1", "en/2", "en/3")
    assert choose(chunks, *options) == planned(*chosen)
