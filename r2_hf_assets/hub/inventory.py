"""What the dataset repo holds under data/: every file with its size and SHA-256, at one fixed revision.

One recursive listing, a thousand files a request, so that 25,000 shards are 25 requests and not one a chunk. The
names are read backwards here as well: which chunk a path belongs to. Files elsewhere in the repo are nobody's business.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from r2_hf_assets.hub.client import HubClient, RemoteFile
from r2_hf_assets.hub.commit import ask
from r2_hf_assets.retry import Retry
from r2_hf_assets.settings import HubSettings
from r2_hf_assets.shards.names import part_name, path_in_repo, shard_names

_DATA = "data"
_SHARD = re.compile(r"^data/([a-z]+)/chunk-(\d{5,})(?:-part-(\d{2,}))?\.parquet$")


@dataclass(frozen=True)
class Inventory:
    """The files under data/ by path. `revision` is the commit they were listed at, None when there is no repo."""

    revision: str | None
    files: Mapping[str, RemoteFile] = field(default_factory=dict)

    def by_chunk(self) -> dict[tuple[str, int] | None, list[RemoteFile]]:
        """The files by the chunk that their names give; None for those whose names give none."""
        found: dict[tuple[str, int] | None, list[RemoteFile]] = defaultdict(list)
        for path, file in self.files.items():
            found[read_path(path)].append(file)
        return found


def take_inventory(
    hub: HubSettings, *, retry: Retry | None = None, log: Callable[[str], None] | None = None
) -> Inventory:
    """List data/ at the head.

    Raises:
        AccessError, GaveUp: the Hub can't be asked.
    """
    repo = HubClient(hub)
    revision = ask(repo, "look at", repo.head, retry, log)
    if revision is None:
        return Inventory(None)
    # A repeated listing starts from its first page: the revision is fixed, so it shows the same.
    return Inventory(revision, ask(repo, "list", lambda: _listed(hub, revision), retry, log))


def _listed(hub: HubSettings, revision: str) -> dict[str, RemoteFile]:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import EntryNotFoundError

    api = HfApi(endpoint=hub.endpoint, token=hub.token, library_name="r2_hf_assets")
    try:
        entries = api.list_repo_tree(hub.repo_id, _DATA, recursive=True, revision=revision, repo_type="dataset")
        return {
            entry.path: RemoteFile(entry.path, entry.size, entry.lfs.sha256 if entry.lfs else None)
            for entry in entries
            if hasattr(entry, "blob_id")  # a folder has none
        }
    except EntryNotFoundError:
        return {}


def read_path(path: str) -> tuple[str, int] | None:
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
