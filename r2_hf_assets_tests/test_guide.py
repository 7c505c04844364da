"""The guide speaks of things that are there: commands and their options, settings, assets, sensors, jobs, files."""

import re
from pathlib import Path

import click

from r2_hf_assets.cli.commands import commands
from r2_hf_assets.definitions import defs
from r2_hf_assets.settings import VARIABLES

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "guide.md").read_text()
# Read by Dagster and the Hub's library, not by us.
# The last two are of an earlier release: the guide says that they are read no more.
OTHERS = {"DAGSTER_HOME", "HF_HUB_DISABLE_XET", "SHARD_URL", "CHUNKS_PER_COMMIT"}

REPOSITORY = defs.get_repository_def()


def calls() -> list[list[str]]:
    """Every call of r2-hf in the guide, in words."""
    found = re.findall(r"r2-hf( [^`|\n\\#]*)", GUIDE)
    return [call.replace("'", "").split() for call in found if call.strip() and not call.startswith(" in ")]


def test_every_call_names_a_command_and_options_that_it_has() -> None:
    assert len(calls()) > 20
    for command, *words in calls():
        found = commands.commands.get(command)
        assert isinstance(found, click.Command), command
        options = {option for parameter in found.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, (command, words)


def test_every_command_is_spoken_of() -> None:
    assert {command for command, *_ in calls()} | {"sandbox"} == set(commands.commands)


def test_settings_are_spelled_as_they_are() -> None:
    named = set(re.findall(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b", GUIDE)) | {"LANGUAGES"}
    assert named <= {variable.name for variable in VARIABLES} | OTHERS
    assert {"EPISODES_PER_CHUNK", "PARQUET_MAX_BYTES", "STATE_URL"} <= named


def test_every_sensor_and_schedule_has_its_line() -> None:
    for name in [*(s.name for s in REPOSITORY.sensor_defs), *(s.name for s in REPOSITORY.schedule_defs)]:
        assert f"`{name}`" in GUIDE, name


def test_names_in_code_letters_are_names_of_something() -> None:
    assets = {key.to_user_string() for key in REPOSITORY.asset_graph.get_all_asset_keys()}
    checks = {key.name for key in REPOSITORY.asset_graph.asset_check_keys}
    known = {*assets, *checks, *REPOSITORY.job_names}
    known |= {sensor.name for sensor in REPOSITORY.sensor_defs} | {s.name for s in REPOSITORY.schedule_defs}
    # Reasons of rejects, entries of metadata, Dagster's settings.
    known |= {"pictures", "audio_missing", "rejects_by_reason", "rejects_ledger", "max_concurrent_runs", "may_shrink"}
    assert set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", GUIDE)) <= known


def test_its_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", GUIDE):
        assert target.startswith("https://") or (ROOT / "docs" / target).exists(), target
    titles = {
        "#" + re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in re.findall(r"^#+ (.*)", GUIDE, re.M)
    }
    assert set(re.findall(r"\]\((#[^)]+)\)", GUIDE)) <= titles
