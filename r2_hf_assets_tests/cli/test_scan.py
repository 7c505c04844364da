"""`r2-hf scan` reports folders whose language rule has changed."""

import pytest

from r2_hf_assets.bucket import listing
from r2_hf_assets_tests.cli.calls import call
from r2_hf_assets_tests.support.build_samples import put_folders
from r2_hf_assets_tests.support.world import World, materializations


def test_a_changed_rule_is_reported_and_moves_no_folder(
    shell: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    put_folders(shell.store(), "junk/a", "junk/b")
    assert call(capfd, "scan").stdout == ["1 chunk planned"]
    monkeypatch.setattr(listing, "normalize", lambda name: "yue")
    again = call(capfd, "scan")
    assert (again.code, again.stdout) == (0, ["1 chunk planned"])
    assert "folder junk stays unknown, as decided; this release maps it to yue" in again.stderr
    (latest, _) = materializations(shell, "work_plan")
    assert latest["folders_of_another_rule"] == {"junk": {"decided": "unknown", "rule": "yue"}}
    assert shell.due() == ["unknown|chunk_0000"]
