"""List the files of the dataset repo under data/, with size and SHA-256, at one fixed revision.

One recursive listing of a thousand files a request: 25,000 shards are 25 requests instead of one a chunk.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from r2_hf_assets.hub.client import HubClient, RemoteFile
from r2_hf_assets.hub.commit import ask
from r2_hf_assets.settings import HubSettings
from r2_hf_assets.shards.names import DATA, read_path


@dataclass(frozen=True)
class Inventory:
    """The files under data/ by path. `revision` is the commit they were listed at, None when there is no repo."""

    revision: str | None
    files: Mapping[str, RemoteFile] = field(default_factory=dict)

    def by_chunk(self) -> dict[tuple[str, int] | None, list[RemoteFile]]:
        """Return the files by language and chunk number, as read from their names; None for other names."""
        chunks: dict[tuple[str, int] | None, list[RemoteFile]] = defaultdict(list)
        for path, file in self.files.items():
            chunks[read_path(path)].append(file)
        return chunks


def take_inventory(hub: HubSettings, *, log: Callable[[str], None] | None = None) -> Inventory:
    """List data/ at the head.

    Raises:
        AccessError, GaveUp: the Hub can't be read.
    """
    repo = HubClient(hub)
    revision = ask(repo, "look at", repo.head, log=log)
    if revision is None:
        return Inventory(None)
    # A repeated listing starts from its first page; the revision is fixed, so the result is the same.
    return Inventory(revision, ask(repo, "list", lambda: repo.list_files(DATA, revision), log=log))
