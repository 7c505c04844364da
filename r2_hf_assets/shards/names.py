"""File names of a chunk, the script's own, so that a dataset it began can be continued.

In the dataset repo a chunk's files lie under data/<language>/. Names are made from the partition alone, never from
anything in the bucket. They are read backwards here too.
"""

import re
from collections.abc import Iterable

# The folder of the dataset repo in which all shards lie.
DATA = "data"

_SHARD = re.compile(r"^data/([a-z]+)/chunk-(\d{5,})(?:-part-(\d{2,}))?\.parquet$")


def stem(number: int) -> str:
    """chunk-00007"""
    return f"chunk-{number:05d}"


def shard_names(number: int, parts: int) -> list[str]:
    """chunk-00007.parquet for one part, chunk-00007-part-00.parquet and so on for more, none for none."""
    if parts <= 1:
        return [f"{stem(number)}.parquet"] * parts
    return [part_name(number, part) for part in range(parts)]


def part_name(number: int, part: int) -> str:
    """chunk-00007-part-01.parquet"""
    return f"{stem(number)}-part-{part:02d}.parquet"


def rejects_name(number: int) -> str:
    """The ledger of a chunk."""
    return f"{stem(number)}.rejects.parquet"


def record_name(number: int) -> str:
    """The record of a chunk's build; there only when all its files are."""
    return f"{stem(number)}.json"


def path_in_repo(language: str, name: str) -> str:
    """data/en/chunk-00007.parquet"""
    return f"{DATA}/{language}/{name}"


def parse_path(path: str) -> tuple[str, int] | None:
    """("en", 7) from "data/en/chunk-00007-part-01.parquet"; None for a name that this project never gives."""
    match = _SHARD.match(path)
    if match is None:
        return None
    language, number, part = match[1], int(match[2]), match[3]
    name = shard_names(number, 1)[0] if part is None else part_name(number, int(part))
    return (language, number) if path == path_in_repo(language, name) else None


def parts_in_order(language: str, number: int, paths: Iterable[str]) -> list[str] | None:
    """A chunk's paths in the order of their rows; None unless they are one whole file, or parts 00 to the last."""
    there = set(paths)
    wanted = [path_in_repo(language, name) for name in shard_names(number, len(there))]
    if len(there) == 1 and there != set(wanted):
        wanted = [path_in_repo(language, part_name(number, 0))]  # a script may number a single part
    return wanted if there == set(wanted) else None
