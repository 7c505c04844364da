"""Tag a revision, squash the history and delete old content; run by test_hub_clients in another environment.

Prints JSON: the refs, the titles of commits, the names of stored files before and after, and whether the new file is
intact.
"""

import json
import os
from typing import Any

from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.storage import delete_lfs_files, lfs_files, squash_history
from r2_hf_assets.settings import load_partial


def main() -> None:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    settings = load_partial()
    assert settings.hub is not None
    repo = HubClient(settings.hub)
    repo.create_repo()
    content = os.urandom(50_000)

    def commit(title: str, *operations: Any, pull_request: bool = False) -> str:
        made = repo.api.create_commit(
            repo.repo_id, operations, commit_message=title, repo_type="dataset", create_pr=pull_request
        )
        return made.oid

    old = commit("old", CommitOperationAdd("old.parquet", os.urandom(40_000)))
    repo.create_tag("v1", old, "The first")
    repo.create_tag("v1", old, "The first")
    commit("new", CommitOperationAdd("new.parquet", content), CommitOperationDelete("old.parquet"))
    commit("note", CommitOperationAdd("note.txt", b"words"), pull_request=True)
    squash_history(repo, "Release 2")
    before = lfs_files(repo).values()
    delete_lfs_files(repo, [file for file in before if file.filename == "old.parquet"])
    result = {
        "refs": [[ref.kind, ref.name] for ref in repo.refs()],
        "commits": {name: [commit.title for commit in repo.commits(name)] for name in ("v1", "main")},
        "stored": [sorted(file.filename for file in files) for files in (before, lfs_files(repo).values())],
        "new": repo.read("new.parquet", "main") == content,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
