"""Misspelt names of settings are found in .env and the shell, and names of other programs are left alone."""

from pathlib import Path

import pytest

from r2_hf_assets.preflight.misspelt import find_misspelt
from r2_hf_assets.settings import VARIABLES


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("EPISODE_PER_CHUNK", "EPISODES_PER_CHUNK"),
        ("SETLE_MINUTES", "SETTLE_MINUTES"),
        ("PARQUET_ROW_GROUP_BYTES", "PARQUET_ROWGROUP_BYTES"),
        ("HF_HUB_ENABLE_HF_TRANSFERS", "HF_HUB_ENABLE_HF_TRANSFER"),
        ("DATASET_LICENCE", "DATASET_LICENSE"),
        ("DAGSTERHOME", "DAGSTER_HOME"),
    ],
)
def test_a_name_near_a_setting_is_found(tmp_path: Path, name: str, meant: str) -> None:
    nowhere = tmp_path / "no.env"
    assert find_misspelt({name: "1", meant: "1"}, nowhere) == [(name, meant)]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("LANGUAGE", "LANGUAGES"),
        ("R2_SECRET_KEY", "R2_SECRET_ACCESS_KEY"),
        ("HF_REPO", "HF_REPO_ID"),
        ("R2_BUCKET_NAME", "R2_BUCKET"),
        ("r2_bucket", "R2_BUCKET"),
    ],
)
def test_env_is_read_more_strictly_than_the_shell(tmp_path: Path, name: str, meant: str) -> None:
    env = tmp_path / ".env"
    env.write_text(f"# {name}x=\n{name}=some value\n")
    assert find_misspelt({name: "some value"}, env) == [(name, meant)]


def test_settings_and_names_of_others_are_left_alone(tmp_path: Path) -> None:
    others = (
        "AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_REGION AWS_CA_BUNDLE S3_BUCKET R2_ACCOUNT_ID "
        "HF_HOME HF_HUB_CACHE HF_HUB_DISABLE_XET HF_HUB_OFFLINE HF_TOKEN_PATH HF_XET_HIGH_PERFORMANCE "
        "HF_DATASETS_CACHE DAGSTER_MODULE_NAME DAGSTER_DISABLE_TELEMETRY DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS "
        "SSL_CERT_FILE REQUESTS_CA_BUNDLE HTTPS_PROXY GITHUB_TOKEN HOME PATH LANG LC_ALL PYTHONPATH VIRTUAL_ENV"
    ).split()
    names = [*others, *(variable.name for variable in VARIABLES)]
    env = tmp_path / ".env"
    env.write_text("".join(f"{name}=1\n" for name in names))
    assert find_misspelt(dict.fromkeys(names, "1"), env) == []
    in_shell = dict.fromkeys(["LANGUAGE", "GH_TOKEN", "B2_BUCKET"], "1")
    assert find_misspelt(in_shell, tmp_path / "no.env") == []
