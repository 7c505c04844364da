"""Renames files of the dataset repo: no bytes are moved, and at no revision is a file there twice or not at all.

A commit names the content that the Hub holds already under the new path, and deletes the old one, on top of the head
that was looked at. After a 412 or an answer that never came, what is left to do is found by looking again.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from r2_hf_assets.errors import R2HfError
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.commit import ask
from r2_hf_assets.hub.compare import batches
from r2_hf_assets.retry import Retry
from r2_hf_assets.settings import HubSettings

# (path now, new path) of files that belong together and are renamed in one commit.
Group = Sequence[tuple[str, str]]

# The Hub asks for fewer than 100 files in a commit, and a rename names two.
_FILES_PER_COMMIT = 50


def rename_files(
    hub: HubSettings, groups: Iterable[Group], *, retry: Retry | None = None, log: Callable[[str], None] | None = None
) -> None:
    """Rename all files, each group whole within one commit. What is renamed already is left alone.

    Raises:
        R2HfError: a new path is taken by another file.
        AccessError, GaveUp: the Hub refuses, or can't be asked.
    """
    repo = HubClient(hub)
    for together in batches(groups, len, _FILES_PER_COMMIT):
        files = [pair for group in together for pair in group]
        ask(repo, "rename files of", partial(_rename, repo, hub, files), retry, log)


def _rename(repo: HubClient, hub: HubSettings, files: Group) -> None:
    from huggingface_hub import CommitOperationCopy, CommitOperationDelete, HfApi

    head = repo.head()
    there = repo.files([path for pair in files for path in pair], head) if head else {}
    waiting = [(old, new) for old, new in files if old in there]
    for old, new in waiting:
        if new in there:
            raise R2HfError(f"{old} can't be renamed: {new} is there already on the Hub")
    if not waiting:
        return
    api = HfApi(endpoint=hub.endpoint, token=hub.token, library_name="r2_hf_assets")
    old, new = waiting[0]
    api.create_commit(
        hub.repo_id,
        [
            *(CommitOperationCopy(src_path_in_repo=old, path_in_repo=new) for old, new in waiting),
            *(CommitOperationDelete(path_in_repo=old) for old, _ in waiting),
        ],
        commit_message=f"Rename {old} to {new}" + (f" and {len(waiting) - 1} more" if len(waiting) > 1 else ""),
        repo_type="dataset",
        parent_commit=head,
    )
