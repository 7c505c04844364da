"""File names of a chunk, the script's own, so that a dataset it began can be continued.

Locally a chunk's files lie under <language>/, in the dataset repo under data/<language>/. Names are made from the
partition alone, never from anything in the bucket.
"""


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
    return f"data/{language}/{name}"
