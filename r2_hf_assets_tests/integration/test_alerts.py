"""alerts on real runs of the card and the check: a mail for each problem, once."""

import pytest
from dagster import DagsterInstance

from r2_hf_assets.asset_keys import CARD
from r2_hf_assets.cli.in_process import execute
from r2_hf_assets.definitions import defs
from r2_hf_assets.sensors.alerts import alerts
from r2_hf_assets_tests.sensors.ticks import Ticks
from r2_hf_assets_tests.support.mailbox import smtp_server
from r2_hf_assets_tests.support.world import World


def test_a_card_and_a_check_that_fail_are_told_once(done: World, monkeypatch: pytest.MonkeyPatch) -> None:
    api, where = done.api(), {"repo_id": done.repo_id, "repo_type": "dataset"}
    with smtp_server() as box, DagsterInstance.get() as instance:
        monkeypatch.setenv("ALERT_EMAIL_TO", "a@b.de")
        monkeypatch.setenv("ALERT_SMTP_URL", box.url)
        tick = Ticks(alerts, instance)

        card = api.hf_hub_download(filename="README.md", local_dir=done.folder, **where)
        api.upload_file(path_or_fileobj=b"---\nlicense: mit\n\nwithout an end\n", path_in_repo="README.md", **where)
        api.delete_file("data/en/chunk-00000.parquet", **where)
        execute(instance, [CARD], None)
        assert defs.resolve_job_def("check_job").execute_in_process(instance=instance).success
        tick.skip_message(2)
        (mail,) = box.mails
        card_line, card_link, _, check_line, check_link, *_ = mail.get_content().splitlines()
        assert mail["Subject"] == f"{done.repo_id}: 2 problems"
        assert card_line.startswith("dataset_card failed: README.md begins with ---, but its YAML is not between")
        assert check_line.startswith("the check whole_dataset fails: 2 chunks planned")
        runs = {run.run_id: run.is_failure for run in instance.get_runs(limit=4)}
        assert (runs[card_link.rpartition("/")[2]], runs[check_link.rpartition("/")[2]]) == (True, False)

        api.upload_file(path_or_fileobj=card, path_in_repo="README.md", **where)
        execute(instance, [CARD], None)
        assert tick.skip_message() == "problems: 1; e-mail: 0 told now"
