"""`r2-hf status`: one language, hours that are unknown, and a plan that is not there."""

from pathlib import Path

import pytest
from dagster import AssetMaterialization, DagsterInstance

from r2_hf_assets.asset_keys import COMMIT
from r2_hf_assets.cli.in_process import planned_chunks
from r2_hf_assets.dagster_internals import DATA_VERSION_TAG
from r2_hf_assets.partitions import partition_key
from r2_hf_assets.plan.chunks import ChunkManifest
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.settings import load_for_scan
from r2_hf_assets_tests.cli.calls import call
from r2_hf_assets_tests.support.world import World


@pytest.fixture
def recorded(shell: World) -> World:
    """One chunk of German and one of English; the English one is recorded as committed, by no run."""
    settings = load_for_scan()
    plan = open_plan(settings.plan, settings.r2)
    plan.check_identity()
    for language in ("de", "en"):
        assert plan.create(ChunkManifest(language, 0, plan.prefix, (f"{language}/e1",)))
    _, english = planned_chunks()
    with DagsterInstance.get() as instance:
        tags = {DATA_VERSION_TAG: english.digest}
        instance.report_runless_asset_event(
            AssetMaterialization(COMMIT, partition=partition_key(*english.name), tags=tags)
        )
    return shell


def test_hours_that_no_run_recorded_are_a_dash(recorded: World, capfd: pytest.CaptureFixture[str]) -> None:
    result = call(capfd, "status")
    hours = {line.split()[0]: line.split()[7] for line in result.stdout[1:]}
    assert hours == {"de": "0.00", "en": "-", "total": "-"}
    assert result.stderr == ["the hours of 1 committed chunk are unknown: no run of this history built them"]


def test_one_language_is_counted_alone(
    recorded: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    result = call(capfd, "status", "--language", "de")
    assert [line.split()[:2] for line in result.stdout[1:]] == [["de", "1"], ["total", "1"]]
    assert result.stderr == []
    none = call(capfd, "status", "--lang", "fr,es")
    assert (none.code, none.stdout, none.stderr) == (0, [], ["nothing of es, fr is planned; run r2-hf scan"])
    monkeypatch.setenv("LANGUAGES", "en")
    left_out = call(capfd, "status", "--language", "de")
    assert left_out.stderr == ["LANGUAGES leaves out 1 planned chunk: de 1", "nothing else is planned"]


def test_a_history_without_its_plan_is_named(
    recorded: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STATE_URL", str(tmp_path / "elsewhere"))
    result = call(capfd, "status")
    assert result.stdout == []
    assert result.stderr == [
        f"nothing is planned in {tmp_path / 'elsewhere'} (STATE_URL), and this history has 1 chunk of a plan: "
        "correct STATE_URL, or bring the plan back by r2-hf restore"
    ]
