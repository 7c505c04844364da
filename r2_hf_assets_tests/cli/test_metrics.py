"""status --prometheus: the figures of a real history in Prometheus' text format, and the dashboard that shows them."""

import json
import re
import time
from pathlib import Path

import pytest
from dagster import DagsterInstance
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin
from prometheus_client.parser import text_string_to_metric_families

from r2_hf_assets.languages import LANGUAGES
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.runs.metrics import metrics
from r2_hf_assets.runs.progress import read_progress
from r2_hf_assets.settings import load
from r2_hf_assets_tests.cli.calls import call
from r2_hf_assets_tests.sensors.instigator import Instigator
from r2_hf_assets_tests.support.world import ROOT, World, materializations

DASHBOARD = ROOT / "deploy" / "grafana" / "r2_hf_assets.json"
Samples = dict[tuple[str, str], float]


def parse(text: str) -> Samples:
    """Return the samples by name and by the value of their label, "" without one."""
    families = list(text_string_to_metric_families(text))
    assert all(family.type == "gauge" and family.documentation for family in families)
    samples = [sample for family in families for sample in family.samples]
    return {(sample.name, next(iter(sample.labels.values()), "")): sample.value for sample in samples}


def test_the_metrics_of_a_history(in_process: World, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    world = in_process
    world.upload(episodes={"en": 4, "de": 1}, expect=False, segments=(2, 2), seconds=(0.3, 0.4))
    before = time.time()
    assert world.scan() is None
    commit = {"method": "POST", "path_regex": f"{world.repo_id}/commit/", "status": 429}
    world.sandbox.hub.inject({**commit, "headers": {"Retry-After": "1"}, "times": 1})
    assert world.build("en|chunk_0000") is None
    world.sandbox.hub.inject({**commit, "status": 403, "times": 100})
    assert world.build("en|chunk_0001") is not None
    world.sandbox.hub.clear_faults()
    with DagsterInstance.get() as instance:
        Instigator(instance, "planned_chunks").tick()
    shown = call(capfd, "status", "--prometheus")
    assert (shown.code, shown.stderr) == (0, [])
    samples = parse("\n".join(shown.stdout) + "\n")
    by_language: dict[str, dict[str, float]] = {}
    for (name, label), value in samples.items():
        if label in LANGUAGES:
            by_language.setdefault(name, {})[label] = value
    (recorded,) = materializations(world, "hub_commit")
    assert recorded["quota_wait_seconds"] == 1.0
    assert by_language == {
        "r2_hf_planned_chunks": {"de": 1, "en": 2},
        "r2_hf_due_chunks": {"de": 1, "en": 1},
        "r2_hf_failed_chunks": {"de": 0, "en": 1},
        "r2_hf_committed_chunks": {"de": 0, "en": 1},
        "r2_hf_committed_rows": {"de": 0, "en": recorded["dagster/row_count"]},
        "r2_hf_committed_audio_seconds": {"de": 0, "en": round(recorded["hours"], 2) * 3600},
        "r2_hf_committed_bytes": {"de": 0, "en": recorded["bytes"]},
        "r2_hf_commit_quota_wait_seconds": {"de": 0, "en": 1.0},
    }
    times = {(name, label): value for (name, label), value in samples.items() if name.endswith("_timestamp_seconds")}
    assert list(times) == [
        ("r2_hf_last_commit_timestamp_seconds", ""),
        ("r2_hf_last_scan_timestamp_seconds", ""),
        ("r2_hf_last_tick_timestamp_seconds", "planned_chunks"),
    ]
    assert all(before <= at <= time.time() for at in times.values())

    target = tmp_path / "r2_hf.prom"
    assert call(capfd, "status", "--prometheus", str(target)).stdout == []
    assert parse(target.read_text()) == samples and list(tmp_path.glob("*.prom*")) == [target]
    for wrong, problem in (("r2_hf.txt", "end in .prom"), ("none/r2_hf.prom", "No such file or directory")):
        result = call(capfd, "status", "--prometheus", str(tmp_path / wrong))
        assert result.code == 2 and len(result.stderr) == 1 and problem in result.stderr[0]


def test_the_last_tick_is_that_of_any_location(in_process: World) -> None:
    other = GrpcServerCodeLocationOrigin(host="127.0.0.1", port=1, location_name="of_another_name")
    with DagsterInstance.get() as instance:
        for sensor, here, there in (("lost_runs", 100.0, 200.0), ("planned_chunks", 200.0, 100.0)):
            Instigator(instance, sensor).tick(at=here)
            Instigator(instance, sensor, location=other).tick(at=there)
        registry = metrics(instance, read_progress(instance, [], LANGUAGES))
    for sensor in ("lost_runs", "planned_chunks"):
        assert registry.get_sample_value("r2_hf_last_tick_timestamp_seconds", {"sensor": sensor}) == 200.0


def test_what_never_happened_has_no_sample(in_process: World) -> None:
    settings = load()
    with DagsterInstance.get() as instance:
        planned = open_plan(settings.plan, settings.r2).planned()
        registry = metrics(instance, read_progress(instance, planned, LANGUAGES))
    assert [sample for family in registry.collect() for sample in family.samples] == []


def test_the_dashboard_queries_every_metric_and_no_other(in_process: World) -> None:
    board = json.loads(DASHBOARD.read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    with DagsterInstance.get() as instance:
        progress = read_progress(instance, [], LANGUAGES)
        names = {family.name for family in metrics(instance, progress).collect()}
    names |= {f"r2_hf_last_{what}_timestamp_seconds" for what in ("commit", "scan")}
    assert set(re.findall(r"r2_hf_\w+", " ".join(queries))) == names
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
