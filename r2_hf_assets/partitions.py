"""Partitions, and the only module that formats and parses their keys.

Dagster sorts dimensions by name and joins the keys with `|`, so {language, plan_chunk} gives `en|chunk_0007`. Users
type that key; its format must never change. The assets have no backfill policy, so a run covers one partition.

The languages of the grid are fixed when Dagster loads the code, where a request to the state store is out of place:
those of LANGUAGES, else those of the plan as GRID_FILE in DAGSTER_HOME names them, else all. What reads the whole plan
updates the file, so each machine has its own, and a lost or damaged one only widens the grid. The grid is what the UI
lists. Runs of other languages work too, so a language that is planned after the code was loaded is built at once.
"""

import logging
import os
import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import dagster as dg
from sqlalchemy.exc import IntegrityError

from r2_hf_assets.languages import LANGUAGES
from r2_hf_assets.parsers import parse_languages
from r2_hf_assets.plan.chunks import ChunkRef, Name
from r2_hf_assets.settings import data_home

LANGUAGE = "language"
PLAN_CHUNK = "plan_chunk"
# In DAGSTER_HOME/r2_hf_assets: the languages of the plan, as in LANGUAGES: de,en,unknown
GRID_FILE = "grid_languages.txt"
RELOAD = "reload the code location (in the UI: Deployment, Reload), or start dagster dev again"

_log = logging.getLogger(__name__)


def grid_languages(environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Return the languages that the grid lists."""
    allowed = _allowed_languages(environ)
    if len(allowed) < len(LANGUAGES):
        return allowed
    try:
        return parse_languages(_grid_file(environ).read_text())
    except (OSError, ValueError):
        return LANGUAGES


def _allowed_languages(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return those of LANGUAGES; all for a wrong value, which `settings.load` reports."""
    try:
        return parse_languages(environ.get("LANGUAGES", ""))
    except ValueError:
        return LANGUAGES


def remember_languages(planned: Iterable[ChunkRef], environ: Mapping[str, str] = os.environ) -> None:
    """Write the languages of the whole plan, for the next load of the code. Without a plan the grid has all."""
    file, languages = _grid_file(environ), ",".join(_languages_of(planned)).encode()
    try:
        if (file.read_bytes() if file.exists() else b"") == languages:
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name(f"{file.name}.{os.getpid()}")
        new.write_bytes(languages)
        new.replace(file)
    except OSError as error:
        _log.warning("%s can't be written, so the grid keeps its languages: %s", file, error)


def _grid_file(environ: Mapping[str, str]) -> Path:
    return data_home(environ) / GRID_FILE


def _languages_of(planned: Iterable[ChunkRef]) -> list[str]:
    named = {chunk.language for chunk in planned}
    return [language for language in LANGUAGES if language in named]


class LanguagePartitions(dg.StaticPartitionsDefinition):
    """Lists the languages of the grid, and accepts the keys of all that LANGUAGES allows."""

    def has_partition_key(self, partition_key: str) -> bool:
        return partition_key in ALLOWED_LANGUAGES


ALLOWED_LANGUAGES = _allowed_languages(os.environ)
LOADED_LANGUAGES = grid_languages()
plan_chunk_partitions = dg.DynamicPartitionsDefinition(name=PLAN_CHUNK)


def chunk_grid(languages: Collection[str]) -> dg.MultiPartitionsDefinition:
    """Return the grid of these languages and all chunk numbers."""
    return dg.MultiPartitionsDefinition(
        {LANGUAGE: LanguagePartitions(list(languages)), PLAN_CHUNK: plan_chunk_partitions}
    )


chunk_partitions = chunk_grid(LOADED_LANGUAGES)


def grid_with(chunks: Iterable[ChunkRef]) -> dg.MultiPartitionsDefinition:
    """Return the loaded grid, whose statuses Dagster caches; with further languages where the chunks need them."""
    further = [language for language in _languages_of(chunks) if language not in LOADED_LANGUAGES]
    return chunk_grid((*LOADED_LANGUAGES, *further)) if further else chunk_partitions


def describe_grid(planned: Iterable[ChunkRef]) -> str:
    """Return how the loaded grid differs from the plan, and what to do."""
    wanted, loaded = _languages_of(planned), len(LOADED_LANGUAGES)
    if further := [language for language in wanted if language not in LOADED_LANGUAGES]:
        return f"{loaded} languages; to list {', '.join(further)} too, {RELOAD}"
    if len(wanted) in (0, loaded) or len(ALLOWED_LANGUAGES) < len(LANGUAGES):
        return f"{loaded} languages"
    return f"{loaded} languages; to list only the {len(wanted)} of the plan, {RELOAD}"


def chunk_key(number: int) -> str:
    """chunk_0007"""
    return f"chunk_{number:04d}"


def partition_key(language: str, number: int) -> dg.MultiPartitionKey:
    """en|chunk_0007"""
    return dg.MultiPartitionKey({LANGUAGE: language, PLAN_CHUNK: chunk_key(number)})


def add_partitions(instance: dg.DagsterInstance, numbers: Iterable[int]) -> None:
    """Add these chunk numbers as partitions; existing ones stay."""
    keys = [chunk_key(number) for number in sorted(set(numbers))]
    for _ in keys:
        # Dagster reads the existing keys, then inserts the others, all or none: a concurrent scan may add one first.
        with suppress(IntegrityError):
            instance.add_dynamic_partitions(PLAN_CHUNK, keys)
            return
    instance.add_dynamic_partitions(PLAN_CHUNK, keys)


def read_key(key: str) -> Name:
    """Return ("en", 7) for "en|chunk_0007". Raises ValueError for a key of another format."""
    match = re.fullmatch(r"([a-z]+)\|chunk_(\d{4,})", key)
    if match is None:
        raise ValueError(f"{key!r} is no partition key; the format is en|chunk_0007")
    return match[1], int(match[2])
