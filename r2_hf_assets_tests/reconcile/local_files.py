"""Files that stand for a chunk's files on the Hub, read from a folder."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from r2_hf_assets.hub.client import RemoteFile
from r2_hf_assets.hub.reading import UnreadableShard
from r2_hf_assets.shards.names import path_in_repo, shard_names


class LocalReader:
    """What HubReader answers, from files by their path in the repo."""

    def __init__(self, files: dict[str, Path]) -> None:
        self._files = files

    def footer(self, file: RemoteFile) -> tuple[pa.Schema, int]:
        try:
            with pq.ParquetFile(self._files[file.path]) as parquet:
                return parquet.schema_arrow, parquet.metadata.num_rows
        except pa.ArrowException:
            raise UnreadableShard(f"{file.path} is no sound Parquet file") from None

    def keys(self, file: RemoteFile) -> list[str | None]:
        return pq.read_table(self._files[file.path]).column("audio").combine_chunks().field("path").to_pylist()


def as_on_hub(*paths: Path, number: int = 7) -> tuple[dict[str, RemoteFile], LocalReader]:
    """The parts of chunk `number` of `en`, by their paths in the repo."""
    named = dict(zip((path_in_repo("en", name) for name in shard_names(number, len(paths))), paths, strict=True))
    files = {
        name: RemoteFile(name, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
        for name, path in named.items()
    }
    return files, LocalReader(named)
