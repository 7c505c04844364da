"""Partitions, and the only module that formats and parses their keys.

Dagster sorts dimensions by name and joins the keys with `|`, so {language, plan_chunk} gives `en|chunk_0007`. Users
type that key; its format must never change. LANGUAGES narrows the grid when the definitions are loaded. The assets have
no backfill policy, so a run covers one partition.
"""

import re
from collections.abc import Iterable
from contextlib import suppress

import dagster as dg
from sqlalchemy.exc import IntegrityError

from r2_hf_assets.plan.chunks import Name
from r2_hf_assets.settings import grid_languages

LANGUAGE = "language"
PLAN_CHUNK = "plan_chunk"

language_partitions = dg.StaticPartitionsDefinition(list(grid_languages()))
plan_chunk_partitions = dg.DynamicPartitionsDefinition(name=PLAN_CHUNK)
chunk_partitions = dg.MultiPartitionsDefinition({LANGUAGE: language_partitions, PLAN_CHUNK: plan_chunk_partitions})


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
