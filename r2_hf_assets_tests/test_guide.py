"""The guide names existing commands and options, settings, assets, sensors and jobs."""

import re
from pathlib import Path

import click

from r2_hf_assets.cli.commands import commands
from r2_hf_assets.definitions import defs
from r2_hf_assets.settings import VARIABLES
from r2_hf_sandbox.__main__ import verbs

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "guide.md").read_text()
# Read by Dagster and huggingface_hub; the last two only by an earlier release.
OTHERS = {"DAGSTER_HOME", "DAGSTER_MODULE_NAME", "HF_HUB_DISABLE_XET", "SHARD_URL", "CHUNKS_PER_COMMIT"}

REPOSITORY = defs.get_repository_def()


def calls() -> list[list[str]]:
    """Return every call of r2-hf in the guide, in words."""
    matches = re.findall(r"r2-hf( [^`|\n\\#]*)", GUIDE)
    return [call.replace("'", "").split() for call in matches if call.strip() and not call.startswith(" in ")]


def test_every_call_has_a_command_and_its_options() -> None:
    assert len(calls()) > 20
    for command, *words in calls():
        if command == "sandbox":
            called: object = verbs.commands.get(words[0])
        else:
            _, called, _ = commands.resolve_command(click.Context(commands), [command])
        assert isinstance(called, click.Command), command
        options = {option for parameter in called.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, (command, words)


def test_every_command_is_named() -> None:
    assert {command for command, *_ in calls()} == set(commands.commands)


def test_every_named_setting_exists() -> None:
    named = set(re.findall(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b", GUIDE)) | {"LANGUAGES"}
    assert named <= {variable.name for variable in VARIABLES} | OTHERS
    assert {"EPISODES_PER_CHUNK", "PARQUET_MAX_BYTES", "STATE_URL"} <= named


def test_every_sensor_and_schedule_is_named() -> None:
    for name in [*(s.name for s in REPOSITORY.sensor_defs), *(s.name for s in REPOSITORY.schedule_defs)]:
        assert f"`{name}`" in GUIDE, name


def test_every_name_in_code_style_exists() -> None:
    assets = {key.to_user_string() for key in REPOSITORY.asset_graph.get_all_asset_keys()}
    checks = {key.name for key in REPOSITORY.asset_graph.asset_check_keys}
    known = {*assets, *checks, *REPOSITORY.job_names}
    known |= {sensor.name for sensor in REPOSITORY.sensor_defs} | {s.name for s in REPOSITORY.schedule_defs}
    # Reasons of rejects, entries of metadata, a dimension of partitions, Dagster's settings.
    known |= {"pictures", "audio_missing", "rejects_by_reason", "max_concurrent_runs", "may_shrink"}
    known |= {"commit_oid", "plan_chunk"}
    assert set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", GUIDE)) <= known
