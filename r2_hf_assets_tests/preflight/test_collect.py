"""The collectors on a real store and Hub, and how they are run: one trouble at a time."""

import threading
from dataclasses import replace
from pathlib import Path

import obstore
import pytest

from r2_hf_assets.preflight import FAIL, OK, WARN, Finding, collect, ok
from r2_hf_assets.preflight.collect import check_settings, check_shell, check_state
from r2_hf_assets.preflight.hub import check_hub
from r2_hf_assets.settings import BucketSettings, HubSettings
from r2_hf_assets_tests.support.world import World

FULL = {
    "R2_ENDPOINT_URL": "http://127.0.0.1:9",
    "R2_ACCESS_KEY_ID": "key-id",
    "R2_SECRET_ACCESS_KEY": "secret",
    "R2_BUCKET": "podcasts",
    "HF_REPO_ID": "me/speech",
    "HF_TOKEN": "hf_token",
}


def levels(found: list[Finding]) -> dict[str, str]:
    return {finding.name: finding.level for finding in found}


@pytest.fixture
def repo(world: World) -> HubSettings:
    return HubSettings(world.repo_id, world.sandbox.hub.token, world.sandbox.hub.endpoint)


def test_one_that_hangs_or_breaks_costs_only_its_own_answer() -> None:
    over = threading.Event()

    def hangs() -> list:
        return [over.wait(60)]

    def breaks() -> list:
        raise RuntimeError("first line\nsecond line")

    found = collect.run({"hangs": hangs, "breaks": breaks, "well": lambda: [ok("well", "fine")]}, deadline_s=0.2)
    over.set()
    assert levels(found) == {"hangs": FAIL, "breaks": FAIL, "well": OK}
    assert "no answer within 0.2 s" in found[0].seen
    assert found[1].seen == "could not be looked at: RuntimeError: first line"


def test_no_secret_is_shown_and_a_finding_is_one_line() -> None:
    quoted = ok("hub", "said: secret-longer\nand secret, as is")
    assert collect.mask(quoted, ["", "is", "secret", "secret-longer"]).seen == "said: *** and ***, as is"


def test_settings_and_what_is_left_of_them() -> None:
    fine, settings = check_settings(FULL)
    assert fine.level == OK and "6 given" in fine.seen and settings and settings.r2 and settings.hub
    missing, settings = check_settings(FULL | {"HF_TOKEN": " "})
    assert missing.level == FAIL and "HF_TOKEN" in missing.seen
    assert settings and settings.r2 and settings.hub is None
    wrong, settings = check_settings(FULL | {"DOWNLOAD_WORKERS": "many"})
    assert wrong.level == FAIL and "DOWNLOAD_WORKERS='many'" in wrong.seen and settings is None


def test_a_shell_with_traps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_DISABLE_XET", raising=False)
    env = tmp_path / ".env"
    assert check_shell({"DAGSTER_MODULE_NAME": ""}, env) == []
    env.touch(mode=0o600)
    assert check_shell({}, env) == []
    env.chmod(0o644)
    (readable,) = check_shell({}, env)
    assert (readable.name, readable.level) == (".env", WARN) and "mode 644" in readable.seen
    env.unlink()
    (hangs,) = check_shell({"DAGSTER_MODULE_NAME": "r2_hf_assets.definitions"}, env)
    assert hangs.level == WARN and "`dagster dev` hangs" in hangs.seen
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    (slow,) = check_shell({}, env)
    assert slow.level == WARN and "over LFS" in slow.seen


def test_stores_that_can_be_written_are_left_as_they_were(world: World, r2: BucketSettings, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    url = f"s3://{world.bucket}/state"
    for place in (str(folder), url):
        assert levels(check_state(place, r2)) == {"STATE_URL": OK}
    assert list(folder.iterdir()) == []
    assert [item["path"] for batch in obstore.list(world.store(), "state") for item in batch] == []
    assert levels(check_state(str(tmp_path / "new"), r2)) == {"STATE_URL": OK}
    assert not (tmp_path / "new").exists()


def test_stores_that_can_not(r2: BucketSettings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (str(tmp_path / "file"), str(tmp_path / "file" / "state"), "s3://no-such-bucket/state"):
        assert levels(check_state(place, r2)) == {"STATE_URL": FAIL}
    (refused,) = check_state("s3://state", replace(r2, secret_access_key="wrong"))
    assert refused.level == FAIL and "R2_SECRET_ACCESS_KEY" in refused.seen


def test_a_store_in_which_a_second_writer_wins(
    r2: BucketSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = obstore.put
    monkeypatch.setattr(obstore, "put", lambda store, path, data, mode: real(store, path, data))
    (found,) = check_state(str(tmp_path), r2)
    assert found.level == FAIL and "second writer" in found.seen
    assert list(tmp_path.glob(".preflight*")) == []


def test_a_hub_as_it_should_be(world: World, repo: HubSettings) -> None:
    found = check_hub(repo)
    assert levels(found) == {"hub": OK, "token": OK, "repo": OK}
    assert "the first commit creates it, public" in found[-1].seen
    world.api().create_repo(world.repo_id, repo_type="dataset")
    assert "is there, public" in check_hub(repo)[-1].seen
    assert check_hub(replace(repo, private=True))[-1].level == WARN


def test_tokens_that_will_not_do(world: World, repo: HubSettings) -> None:
    reader = check_hub(replace(repo, token=world.sandbox.hub.read_token))
    assert levels(reader) == {"hub": OK, "token": FAIL, "repo": OK}
    assert "role read: it may not write" in reader[1].seen
    unknown = check_hub(replace(repo, token="hf_nobody"))
    assert levels(unknown) == {"hub": OK, "token": FAIL, "repo": FAIL}
    assert "expired or revoked" in unknown[1].seen


def test_a_hub_that_is_dead_silent_or_another_thing(world: World, repo: HubSettings, silent: str) -> None:
    for endpoint in ("http://127.0.0.1:9", silent):
        (found,) = check_hub(replace(repo, endpoint=endpoint))
        assert found.level == FAIL and "check HF_ENDPOINT" in found.advice
    for status in (503, 404, 200):
        world.sandbox.hub.inject({"path_regex": "/whoami-v2", "status": status, "body": "a proxy's page"})
        assert levels(check_hub(repo)) == {"hub": FAIL}, status
