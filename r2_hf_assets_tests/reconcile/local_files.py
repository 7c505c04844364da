"""A chunk's files on the Hub, replaced by files in a folder."""

import hashlib
from pathlib import Path
from typing import IO

from r2_hf_assets.hub.client import HubClient, RemoteFile
from r2_hf_assets.hub.reads import HubReader
from r2_hf_assets.shards.names import index_path, path_in_repo, shard_names
from r2_hf_assets_tests.support.build_samples import NO_WAIT


class LocalRepo(HubClient):
    """Reads local files by their path in the repo."""

    repo_id = "me/speech"

    def __init__(self, files: dict[str, Path]) -> None:
        self.log, self.retry = None, NO_WAIT
        self._files = files

    def read(self, path: str, revision: str, first: int = 0) -> bytes | None:
        return self._files[path].read_bytes()[first:]

    def open_file(self, path: str, revision: str) -> IO[bytes]:
        return self._files[path].open("rb")


def as_on_hub(*paths: Path, index: Path | None = None, number: int = 7) -> tuple[dict[str, RemoteFile], HubReader]:
    """Return the parts and the index of chunk `number` of `en`, by their paths in the repo."""
    named = dict(zip((path_in_repo("en", name) for name in shard_names(number, len(paths))), paths, strict=True))
    if index:
        named[index_path("en", number)] = index
    files = {
        name: RemoteFile(name, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
        for name, path in named.items()
    }
    return files, HubReader(LocalRepo(named), "main")
