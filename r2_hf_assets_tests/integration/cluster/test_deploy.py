"""The files of deploy/ agree with each other, with the template for one machine, and with Dagster."""

import re
import runpy
from pathlib import Path

import pytest
import yaml
from dagster._core.instance.config import dagster_instance_config

from r2_hf_assets.settings import VARIABLES, data_home
from r2_hf_assets_tests.support.world import ROOT

CELERY = ROOT / "deploy" / "celery"
# Settings of the workers and of the launcher.
SHARED = ("broker_transport_options", "result_expires")


def instance() -> dict:
    return yaml.safe_load((CELERY / "dagster.yaml").read_text())


def template() -> dict:
    return yaml.safe_load((ROOT / "dagster.yaml").read_text())


def kubernetes() -> dict:
    return yaml.safe_load((ROOT / "deploy" / "k8s" / "values.yaml").read_text())["dagsterDaemon"]


def example() -> list[str]:
    return re.findall(r"^([A-Z0-9_]+)=", (CELERY / "cluster.env.example").read_text(), re.MULTILINE)


def test_dagster_accepts_the_instance_settings() -> None:
    settings, _ = dagster_instance_config(str(CELERY))
    assert settings["run_launcher"]["class"] == "CeleryLauncher"


def test_the_example_environment_has_every_variable_of_the_instance_and_every_required_setting() -> None:
    named = set(re.findall(r"env: ([A-Z0-9_]+)", (CELERY / "dagster.yaml").read_text()))
    required = {variable.name for variable in VARIABLES if variable.default is None}
    assert named and named | required | {"STATE_URL", "DAGSTER_HOME"} <= set(example())


def test_the_workers_and_the_launcher_have_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTER_REDIS_URL", "redis://127.0.0.1:1/0")
    workers = runpy.run_path(str(CELERY / "dagster_celery_config.py"))
    launcher = instance()["run_launcher"]["config"]["config_source"]
    assert {name: launcher[name] for name in SHARED} == {name: workers[name] for name in SHARED}
    assert workers["worker_disable_prefetch"] is True and workers["worker_redirect_stdouts"] is False
    assert workers["broker_url"] == workers["result_backend"] == "redis://127.0.0.1:1/0"


@pytest.mark.parametrize("what", ["run_retries", "free_slots_after_run_end_seconds", "cancel_timeout_seconds"])
def test_the_cluster_retries_and_frees_slots_as_one_machine_does(what: str) -> None:
    values = [file.get(what, file["run_monitoring"].get(what)) for file in (template(), instance())]
    assert values[0] == values[1] is not None


def test_the_cluster_has_the_tested_versions() -> None:
    locks = [(folder / "requirements.lock").read_text() for folder in (ROOT, CELERY)]
    tested, deployed = (dict(re.findall(r"^(\S+)==(\S+)", lock, re.MULTILINE)) for lock in locks)
    assert {"dagster", "dagster-postgres", "pyarrow", "redis"} <= deployed.keys()
    assert {name: pin for name, pin in deployed.items() if tested.get(name, pin) != pin} == {}


def test_every_deployment_has_the_same_concurrency_limits() -> None:
    limits = [file["concurrency"]["runs"]["tag_concurrency_limits"] for file in (template(), instance())]
    queue = kubernetes()["runCoordinator"]["config"]["queuedRunCoordinator"]
    assert limits[0] == limits[1] == queue["tagConcurrencyLimits"][: len(limits[0])]


def test_kubernetes_monitors_runs_as_celery_does() -> None:
    daemon = kubernetes()
    monitoring = {re.sub("([A-Z])", r"_\1", name).lower(): value for name, value in daemon["runMonitoring"].items()}
    assert monitoring == instance()["run_monitoring"]
    assert daemon["runRetries"]["maxRetries"] == instance()["run_retries"]["max_retries"]


def test_the_images_user_can_write_scratch_files() -> None:
    """In the image, in compose's volume, which has the folder's owner, and in a pod."""
    image = (ROOT / "deploy" / "Dockerfile").read_text()
    home = re.search(r"^ENV DAGSTER_HOME=(\S+)", image, re.MULTILINE)
    assert home is not None
    scratch = data_home({"DAGSTER_HOME": home[1]})
    assert re.search(rf"mkdir -p {scratch} ", image) and f"chown -R r2-hf {home[1]}" in image
    worker = yaml.safe_load((CELERY / "compose.yaml").read_text())["services"]["worker"]
    assert f"scratch:{scratch}" in worker["volumes"]
    pod = yaml.safe_load((ROOT / "deploy" / "k8s" / "values.yaml").read_text())["runLauncher"]["config"]
    pod = pod["k8sRunLauncher"]["runK8sConfig"]
    (mount,) = pod["containerConfig"]["volumeMounts"]
    # The chart's own DAGSTER_HOME.
    assert Path(mount["mountPath"]) == data_home({"DAGSTER_HOME": "/opt/dagster/dagster_home"})
    assert pod["podSpecConfig"]["volumes"] == [{"name": mount["name"], "emptyDir": {}}]
    (uid,) = re.findall(r"useradd .*--uid (\d+)", image)
    assert pod["podSpecConfig"]["securityContext"] == {"fsGroup": int(uid)}


@pytest.mark.parametrize("unit", sorted(path.name for path in (CELERY / "systemd").iterdir()))
def test_a_unit_reads_the_environment_and_restarts(unit: str) -> None:
    text = (CELERY / "systemd" / unit).read_text()
    assert "EnvironmentFile=/etc/r2-hf/cluster.env" in text and "Restart=always" in text
    start = re.search(r"^ExecStart=/opt/r2_hf_assets/\.venv/bin/(\S+)", text, re.MULTILINE)
    assert start is not None and start[1] in ("dagster", "dagster-daemon", "dagster-webserver", "celery")
    assert ("PYTHONPATH=/opt/r2_hf_assets/deploy/celery" in text) == (start[1] == "celery")


def test_compose_starts_what_the_units_start() -> None:
    services = yaml.safe_load((CELERY / "compose.yaml").read_text())["services"]
    assert {"postgres", "redis", "code", "daemon", "webserver", "worker"} <= services.keys()
    for service in ("code", "daemon", "webserver", "worker"):
        unit = (CELERY / "systemd" / f"r2-hf-{service}.service").read_text()
        program = services[service]["command"][0]
        assert f"/bin/{program} " in unit
        assert Path(CELERY / services[service]["volumes"][0].split(":")[0]).name == "dagster.yaml"
    assert "127.0.0.1:3000:3000" in services["webserver"]["ports"], "the UI has no login"
