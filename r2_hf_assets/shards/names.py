"""Make and parse file names of chunks. They are the script's, so that a dataset it began can be continued.

A chunk's parts are under data/<language>/ in the dataset repo, and its index is under metadata/<language>/. Names
depend on the partition alone, never on object keys.
"""

import re
from collections.abc import Iterable

from r2_hf_assets.plan.chunks import Name

DATA = "data"
METADATA = "metadata"
# Every index.
INDEX_FILES = f"{METADATA}/*/chunk-*.parquet"

# (folder, stem, rest) of a chunk's file in any folder: the script's language folders are the bucket's.
CHUNK_FILE = re.compile(DATA + r"/([^/]+)/(chunk-\d{5,})((?:-part-\d{2,})?\.parquet)", re.ASCII)
_SHARD = re.compile(r"^(data|metadata)/([a-z]+)/chunk-(\d{5,})(?:-part-(\d{2,}))?\.parquet$")


def stem(number: int) -> str:
    """Return e.g. chunk-00007."""
    return f"chunk-{number:05d}"


def shard_names(number: int, parts: int) -> list[str]:
    """Return chunk-00007.parquet for one part, chunk-00007-part-00.parquet and so on for more."""
    if parts <= 1:
        return [f"{stem(number)}.parquet"] * parts
    return [part_name(number, part) for part in range(parts)]


def part_name(number: int, part: int) -> str:
    return f"{stem(number)}-part-{part:02d}.parquet"


def record_name(number: int) -> str:
    return f"{stem(number)}.json"


def path_in_repo(language: str, name: str) -> str:
    return f"{DATA}/{language}/{name}"


def index_path(language: str, number: int) -> str:
    return f"{METADATA}/{language}/{stem(number)}.parquet"


def is_index(path: str) -> bool:
    return path.startswith(f"{METADATA}/")


def parse_path(path: str) -> Name | None:
    """Return ("en", 7) for data/en/chunk-00007-part-01.parquet or its index, None for a name that is not ours."""
    match = _SHARD.match(path)
    if match is None:
        return None
    folder, language, number, part = match[1], match[2], int(match[3]), match[4]
    name = shard_names(number, 1)[0] if part is None else part_name(number, int(part))
    expected = path_in_repo(language, name) if folder == DATA else index_path(language, number)
    return (language, number) if path == expected else None


def parts_in_order(language: str, number: int, paths: Iterable[str]) -> list[str] | None:
    """Sort the paths of a chunk's parts by row order; None unless they are one file, or parts 00 to the last."""
    existing = {path for path in paths if not is_index(path)}
    expected = [path_in_repo(language, name) for name in shard_names(number, len(existing))]
    if len(existing) == 1 and existing != set(expected):
        expected = [path_in_repo(language, part_name(number, 0))]  # a script may number a single part
    return expected if existing == set(expected) else None
