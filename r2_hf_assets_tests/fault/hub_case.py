"""A chunk that the real client uploads and commits to the sandbox's Hub, and checks of the repo."""

import hashlib
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import RepositoryNotFoundError

from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.commit import CommitRecord, commit_chunk, prepare_repo
from r2_hf_assets.hub.ownership import Claim
from r2_hf_assets.settings import HubSettings
from r2_hf_assets.shards.record import BuildRecord
from r2_hf_assets_tests.hub.uploads import upload_chunk
from r2_hf_sandbox.hub.server import HubServer

FOR_EVER = 2**31
PART = "data/en/chunk-00007.parquet"
SIZE = 250_000

# Routes of an upload and its commit over both Xet and LFS.
ROUTES = {
    "head": ("GET", "/revision/main$"),
    "create": ("POST", "/api/repos/create$"),
    "paths-info": ("POST", "/paths-info/"),
    "commit": ("POST", "/commit/main$"),
}
XET_TOKEN = ("GET", "/xet-write-token/")
XET_ROUTES = {
    "xet token": XET_TOKEN,
    "xorb upload": ("POST", "/v1/xorbs/"),
    "shard upload": ("POST", "/v1/shards$"),
}
LFS_ROUTES = {
    "preupload": ("POST", "/preupload/main$"),
    "LFS batch": ("POST", "/info/lfs/objects/batch$"),
    "LFS part": ("PUT", "/_lfs/.*/2$"),
    "LFS completion": ("POST", "/_lfs/.*/0$"),
    "LFS verify": ("POST", "/info/lfs/objects/verify$"),
}
EVERY = {f"Xet, {name}": route for name, route in (ROUTES | XET_ROUTES).items()}
EVERY |= {f"LFS, {name}": route for name, route in LFS_ROUTES.items()}
PART_BYTES = 100_000  # of an LFS upload: three parts, so the multipart routes are used


@dataclass
class HubCase:
    """One chunk of one file, and the name of a repo that does not exist yet."""

    hub: HubServer
    client: HubClient
    folder: Path
    body: bytes
    api: HfApi
    claim = Claim("0" * 32, lambda _: {}, lambda *_: True)

    @classmethod
    def make(cls, hub: HubServer, folder: Path) -> "HubCase":
        name = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
        settings = HubSettings(f"{hub.user}/faults-{name}", hub.token, hub.endpoint)
        body = b"PAR1" + random.Random(name).randbytes(SIZE)
        return cls(hub, HubClient(settings), folder, body, HfApi(endpoint=hub.endpoint, token=hub.token))

    def inject(self, route: tuple[str, str], **fault: Any) -> None:
        method, path = route
        self.hub.inject({"method": method, "path_regex": path, **fault})

    def upload(self) -> BuildRecord:
        """Create the repo and upload the content, like `parquet_shards`."""
        prepare_repo(self.client, self.claim)
        return self.client.call_with_retry("upload to", lambda: upload_chunk(self.client, self.folder, self.body))

    def commit(self) -> CommitRecord:
        return commit_chunk(self.client, self.upload(), self.claim)

    def data_commits(self) -> int:
        commits = self.api.list_repo_commits(self.client.repo_id, repo_type="dataset")
        return sum(commit.title.startswith("Add ") for commit in commits)

    def check_whole(self) -> None:
        """Check that the repo has the chunk by exactly one commit, and no scratch file is left."""
        (file,) = self.api.get_paths_info(self.client.repo_id, [PART], repo_type="dataset")
        assert (file.lfs.sha256, file.size) == (hashlib.sha256(self.body).hexdigest(), len(self.body))
        assert self.data_commits() == 1
        self.check_scratch()

    def check_nothing_visible(self) -> None:
        self.check_scratch()
        try:
            files = self.api.list_repo_files(self.client.repo_id, repo_type="dataset")
        except RepositoryNotFoundError:
            return
        assert not [path for path in files if path.startswith("data/")]
        assert self.data_commits() == 0

    def check_scratch(self) -> None:
        assert list((self.folder / "scratch").glob("*")) == []
