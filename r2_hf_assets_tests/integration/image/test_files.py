"""Dockerfile and compose.yaml fit what is here: the short form of `make image`."""

import re
from pathlib import Path

import click
import pytest
import yaml
from dagster._cli import cli as dagster_cli
from dagster._daemon.cli import cli as daemon_cli
from dagster_webserver.cli import cli as webserver_cli

from r2_hf_assets_tests.integration.image.buildah import DOCKERFILE, copied, make_context
from r2_hf_assets_tests.integration.image.compose import COMPOSE, read_services, write_cluster_env
from r2_hf_assets_tests.support.world import ROOT

PROGRAMS = {"dagster": dagster_cli, "dagster-daemon": daemon_cli, "dagster-webserver": webserver_cli}
ENV = {"REDIS_PASSWORD": "secret"}


def parse(command: click.Command, words: list[str]) -> None:
    """Parse a command line without running it; raises what click reports."""
    context = command.make_context("program", words)
    if isinstance(command, click.Group):
        _, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert found is not None
        parse(found, rest)


def test_everything_that_the_image_copies_exists(tmp_path: Path) -> None:
    sources = copied(DOCKERFILE.read_text())
    assert {"pyproject.toml", "r2_hf_assets", "deploy/celery/requirements.lock"} <= set(sources)
    make_context(tmp_path)
    assert all((tmp_path / source).exists() for source in sources)
    needed = re.findall(r"\"([\w.]+)\"", re.findall(r"^(?:readme|license-files) = .*$", _pyproject(), re.MULTILINE)[0])
    assert set(needed) <= set(sources)


def test_secrets_stay_out_of_the_image() -> None:
    """`COPY deploy` would copy cluster.env, which compose has beside its own file."""
    assert "deploy" in copied(DOCKERFILE.read_text())
    assert "**/cluster.env" in (ROOT / ".dockerignore").read_text().splitlines()
    assert yaml.safe_load(COMPOSE.read_text())["x-ours"]["env_file"] == "cluster.env"


@pytest.mark.parametrize("name", sorted(name for name, service in read_services(ENV).items() if service.ours))
def test_the_installed_programs_accept_composes_arguments(name: str) -> None:
    (workdir,) = re.findall(r"^WORKDIR (\S+)$", DOCKERFILE.read_text(), re.MULTILINE)
    program, *words = (word.replace(workdir, str(ROOT)) for word in read_services(ENV)[name].command)
    if program in PROGRAMS:
        parse(PROGRAMS[program], words)
    else:  # it comes with the extra `cluster`, and is started by `make image`
        assert program == "celery"


def test_a_wrong_argument_is_noticed() -> None:
    with pytest.raises(click.UsageError):
        parse(dagster_cli, ["api", "grpc", "--prot", "4000"])


def test_the_volumes_of_compose_are_files_beside_it_or_named() -> None:
    named = yaml.safe_load(COMPOSE.read_text())["volumes"]
    sources = {source for service in read_services(ENV).values() for source, _ in service.volumes}
    assert sources
    for source in sources:
        assert source in named or (COMPOSE.parent / source).is_file(), source


def test_cluster_env_is_the_example_filled_in(tmp_path: Path) -> None:
    env = write_cluster_env(tmp_path / "cluster.env", {"R2_BUCKET": "mine", "MORE": "1"})
    assert env["R2_BUCKET"] == "mine" and env["MORE"] == "1"
    assert env["AWS_REQUEST_CHECKSUM_CALCULATION"] == "when_required" and env["HF_TOKEN"] == ""


def _pyproject() -> str:
    return (ROOT / "pyproject.toml").read_text()
