"""What the dataset repo holds under data/: every file with its size and SHA-256, at one fixed revision.

One recursive listing, a thousand files a request, so that 25,000 shards are 25 requests and not one a chunk. Files
elsewhere in the repo are nobody's business.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from r2_hf_assets.hub.client import HubClient, RemoteFile
from r2_hf_assets.hub.commit import ask
from r2_hf_assets.retry import Retry
from r2_hf_assets.settings import HubSettings
from r2_hf_assets.shards.names import DATA, read_path


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
    return Inventory(revision, ask(repo, "list", lambda: repo.list_files(DATA, revision), retry, log))
