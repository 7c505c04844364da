"""Read deploy/celery/compose.yaml, and fill in cluster.env as its comment says."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from dotenv import dotenv_values

from r2_hf_assets_tests.support.world import ROOT

COMPOSE = ROOT / "deploy" / "celery" / "compose.yaml"
EXAMPLE = COMPOSE.with_name("cluster.env.example")


@dataclass(frozen=True)
class Service:
    """A service; `volumes` are pairs of a source and a target with its options, as in the file."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[tuple[str, str], ...] = ()
    ours: bool = True  # it runs in our image


def read_services(env: Mapping[str, str]) -> dict[str, Service]:
    """Return the services that have a command. `env` has the variables that compose substitutes."""
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    return {name: _service(name, values, env) for name, values in services.items() if "command" in values}


def _service(name: str, values: Mapping, env: Mapping[str, str]) -> Service:
    command = tuple(re.sub(r"\$\{(\w+)[^}]*\}", lambda found: env[found[1]], word) for word in values["command"])
    volumes = tuple(tuple(volume.split(":", 1)) for volume in values.get("volumes", ()))
    return Service(name, command, values.get("environment", {}), volumes, "build" in values)


def write_cluster_env(file: Path, values: Mapping[str, str]) -> dict[str, str]:
    """Write cluster.env: the example with these values, and then those that it does not name; return its variables."""
    lines = EXAMPLE.read_text().splitlines()
    named = {line.partition("=")[0] for line in lines if re.match(r"[A-Z0-9_]+=", line)}
    filled = [
        f"{name}={values[name]}" if (name := line.partition("=")[0]) in values.keys() & named else line
        for line in lines
    ]
    file.touch(mode=0o600)
    file.write_text("\n".join([*filled, *(f"{name}={values[name]}" for name in values.keys() - named)]) + "\n")
    return {name: value or "" for name, value in dotenv_values(file).items()}
