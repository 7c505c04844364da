"""alerts on real runs, and in a real daemon: a mail for each problem, once, and none for a run that is retried."""

import pytest
from dagster import DagsterInstance

from r2_hf_assets.asset_keys import CARD
from r2_hf_assets.cli.in_process import execute
from r2_hf_assets.definitions import defs
from r2_hf_assets.sensors.alerts import alerts
from r2_hf_assets_tests.integration.services import services
from r2_hf_assets_tests.integration.test_sensors import ticks, turn_on
from r2_hf_assets_tests.sensors.ticks import Ticks
from r2_hf_assets_tests.support.mailbox import smtp_server
from r2_hf_assets_tests.support.world import World
from r2_hf_sandbox.processes import wait_until

PATIENCE_S = 200.0


def test_a_card_and_a_check_that_fail_are_told_once(done: World, monkeypatch: pytest.MonkeyPatch) -> None:
    api, where = done.api(), {"repo_id": done.repo_id, "repo_type": "dataset"}
    with smtp_server() as box, DagsterInstance.get() as instance:
        monkeypatch.setenv("ALERT_EMAIL_TO", "a@b.de")
        monkeypatch.setenv("ALERT_SMTP_URL", box.url)
        tick = Ticks(alerts, instance)

        def work() -> None:
            execute(instance, [CARD], None)
            assert defs.resolve_job_def("check_job").execute_in_process(instance=instance).success

        work()
        assert tick.skip_message() == "problems: 0; e-mail: 0 told now"
        card = api.hf_hub_download(filename="README.md", local_dir=done.folder, **where)
        api.upload_file(path_or_fileobj=b"---\nlicense: mit\n\nwithout an end\n", path_in_repo="README.md", **where)
        api.delete_file("data/en/chunk-00000.parquet", **where)
        for _ in range(2):
            work()
            tick()
        (mail,) = box.mails
        card_line, card_link, _, check_line, check_link, *_ = mail.get_content().splitlines()
        assert mail["Subject"] == f"{done.repo_id}: 2 problems"
        assert card_line.startswith("dataset_card failed: README.md begins with ---, but its YAML is not between")
        assert check_line.startswith("the check whole_dataset fails: 2 chunks planned")
        runs = {run.run_id: run.is_failure for run in instance.get_runs(limit=4)}
        assert (runs[card_link.rpartition("/")[2]], runs[check_link.rpartition("/")[2]]) == (True, False)

        api.upload_file(path_or_fileobj=card, path_in_repo="README.md", **where)
        work()
        assert tick.skip_message() == "problems: 1; e-mail: 0 told now"


@pytest.mark.timeout(480)
def test_the_daemon_tells_once_that_a_sensor_fails(in_process: World) -> None:
    world = in_process
    with smtp_server() as box:
        world.env |= {"ALERT_EMAIL_TO": "a@b.de", "ALERT_SMTP_URL": box.url, "PLAN_MAX_WAIT_HOURS": "a day"}
        with services(world, "r2_hf_assets_tests.integration.quick_alerts") as host:
            turn_on(host, "planned_chunks")
            assert wait_until(lambda: bool(box.mails), PATIENCE_S, 0.5), host.log()
            told = len(ticks(host, "alerts"))
            assert wait_until(lambda: len(ticks(host, "alerts")) >= told + 3, PATIENCE_S, 0.5), host.log()
            latest = ticks(host, "alerts")[0]
            failed = [tick["status"] for tick in ticks(host, "planned_chunks")]
    (mail,) = box.mails
    reason = "the sensor planned_chunks fails: settings: PLAN_MAX_WAIT_HOURS='a day' must be a number, 0 or more"
    assert mail.get_content().startswith(reason)
    assert "http://127.0.0.1:3000/locations/r2_hf_assets/sensors/planned_chunks" in mail.get_content()
    assert latest["skipReason"] == "problems: 1; e-mail: 0 told now" and set(failed) == {"FAILURE"}
