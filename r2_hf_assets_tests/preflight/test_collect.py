"""The collectors on a real store and Hub, one fault at a time, and how they are run."""

import threading
from dataclasses import replace
from pathlib import Path

import obstore
import pytest

from r2_hf_assets.preflight import FAIL, OK, WARN, collect, ok
from r2_hf_assets.preflight.collect import check_settings, check_shell, check_state
from r2_hf_assets.preflight.hub import check_hub
from r2_hf_assets.settings import BucketSettings, HubSettings
from r2_hf_assets_tests.conftest import REQUIRED
from r2_hf_assets_tests.preflight.conftest import levels
from r2_hf_assets_tests.support.world import World


@pytest.fixture
def repo(world: World) -> HubSettings:
    return HubSettings(world.repo_id, world.sandbox.hub.token, world.sandbox.hub.endpoint)


def test_a_collector_that_hangs_or_fails_costs_its_own_findings_only() -> None:
    released = threading.Event()

    def hangs() -> list:
        return [released.wait(60)]

    def fails() -> list:
        raise RuntimeError("first line\nsecond line")

    findings = collect.run({"hangs": hangs, "fails": fails, "well": lambda: [ok("well", "fine")]}, deadline_s=0.2)
    released.set()
    assert levels(findings) == {"hangs": FAIL, "fails": FAIL, "well": OK}
    assert "no result within 0.2 s" in findings[0].seen
    assert findings[1].seen == "the check failed: RuntimeError: first line"


def test_secrets_are_masked_and_a_finding_is_one_line() -> None:
    text = "quoted: secret-longer\nand secret, as is"
    masked = collect.mask(ok("hub", text, text), ["", "is", "secret", "secret-longer"])
    assert masked.seen == masked.advice == "quoted: *** and ***, as is"


def test_incomplete_groups_of_settings_are_none() -> None:
    complete, settings = check_settings(REQUIRED)
    assert complete.level == OK and "6 given" in complete.seen and settings and settings.r2 and settings.hub
    missing, settings = check_settings(REQUIRED | {"HF_TOKEN": " "})
    assert missing.level == FAIL and "HF_TOKEN" in missing.seen
    assert settings and settings.r2 and settings.hub is None
    wrong, settings = check_settings(REQUIRED | {"DOWNLOAD_WORKERS": "many"})
    assert wrong.level == FAIL and "DOWNLOAD_WORKERS='many'" in wrong.seen and settings is None


def test_harmful_variables_and_a_readable_env_file_are_warnings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_DISABLE_XET", raising=False)
    env = tmp_path / ".env"
    assert check_shell({"DAGSTER_MODULE_NAME": ""}, env) == []
    env.touch(mode=0o600)
    assert check_shell({}, env) == []
    env.chmod(0o644)
    (readable,) = check_shell({}, env)
    assert (readable.name, readable.level) == (".env", WARN) and "mode 644" in readable.seen
    env.unlink()
    (misspelt,) = check_shell({"SETLE_MINUTES": "1"}, env)
    assert (misspelt.level, misspelt.seen) == (WARN, "SETLE_MINUTES is no setting")
    assert misspelt.advice == "did you mean SETTLE_MINUTES?"
    (hangs,) = check_shell({"DAGSTER_MODULE_NAME": "r2_hf_assets.definitions"}, env)
    assert hangs.level == WARN and "`dagster dev` hangs" in hangs.seen
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    (slow,) = check_shell({}, env)
    assert slow.level == WARN and "over LFS" in slow.seen


def test_a_writable_store_is_ok_and_unchanged(world: World, r2: BucketSettings, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    url = f"s3://{world.bucket}/state"
    for place in (str(folder), url):
        assert levels(check_state(place, r2)) == {"STATE_URL": OK}
    assert list(folder.iterdir()) == []
    assert [item["path"] for batch in obstore.list(world.store(), "state") for item in batch] == []
    assert levels(check_state(str(tmp_path / "new"), r2)) == {"STATE_URL": OK}
    assert not (tmp_path / "new").exists()


def test_a_store_without_access_fails(r2: BucketSettings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (str(tmp_path / "file"), str(tmp_path / "file" / "state"), "s3://no-such-bucket/state"):
        assert levels(check_state(place, r2)) == {"STATE_URL": FAIL}
    (absent,) = check_state("s3://no-such-bucket/state", r2)
    assert "there is no such bucket; check STATE_URL" in absent.seen
    (refused,) = check_state("s3://state", replace(r2, secret_access_key="wrong"))
    assert refused.level == FAIL and "R2_SECRET_ACCESS_KEY" in refused.seen


def test_a_store_that_overwrites_fails(r2: BucketSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = obstore.put
    monkeypatch.setattr(obstore, "put", lambda store, path, data, mode: real(store, path, data))
    (finding,) = check_state(str(tmp_path), r2)
    assert finding.level == FAIL and "second writer" in finding.seen
    assert list(tmp_path.glob(".preflight*")) == []


def test_a_hub_with_a_valid_token_is_ok(world: World, repo: HubSettings) -> None:
    findings = check_hub(repo)
    assert levels(findings) == {"hub": OK, "token": OK, "repo": OK}
    assert "the first commit creates" in findings[-1].seen
    world.api().create_repo(world.repo_id, repo_type="dataset")
    assert "exists, public" in check_hub(repo)[-1].seen
    assert check_hub(replace(repo, private=True))[-1].level == WARN


def test_a_read_only_or_unknown_token_fails(world: World, repo: HubSettings) -> None:
    reader = check_hub(replace(repo, token=world.sandbox.hub.read_token))
    assert levels(reader) == {"hub": OK, "token": FAIL, "repo": OK}
    assert "role read: it may not write" in reader[1].seen
    unknown = check_hub(replace(repo, token="hf_nobody"))
    assert levels(unknown) == {"hub": OK, "token": FAIL, "repo": FAIL}
    assert "expired or revoked" in unknown[1].seen


def test_a_dead_silent_or_foreign_endpoint_fails(world: World, repo: HubSettings, silent: str) -> None:
    for endpoint in ("http://127.0.0.1:9", silent):
        (finding,) = check_hub(replace(repo, endpoint=endpoint))
        assert finding.level == FAIL and "check HF_ENDPOINT" in finding.advice
    for status in (503, 404, 200):
        world.sandbox.hub.inject({"path_regex": "/whoami-v2", "status": status, "body": "a proxy's page"})
        assert levels(check_hub(repo)) == {"hub": FAIL}, status
