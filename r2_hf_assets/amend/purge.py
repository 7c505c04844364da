"""Make what was removed unrecoverable: squash the history of main, then delete the stored files that no ref has.

A deletion can't be undone. So a file is kept when the tree of any branch, tag or pull request names it, or a current
build record, whose commit may follow. A file that was pushed within a day is kept too, because a build under way may
have uploaded it; except if it is of an earlier build of an amended chunk, which no run can commit any more.

What is stored is listed first, then the build records, then the refs. So a file that is committed during the listing
is either stored later, or named by a record or a ref. All is read again after the squash. Every step is idempotent:
a purge that was killed is completed by the next.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from r2_hf_assets.errors import R2HfError
from r2_hf_assets.hub.client import BRANCH, HubClient, Ref, RemoteFile
from r2_hf_assets.hub.ownership import Claim, check_ownership
from r2_hf_assets.hub.reads import require_repo
from r2_hf_assets.hub.storage import delete_lfs_files, lfs_files, squash_history
from r2_hf_assets.plan.amendments import REMOVE, Amendment, Name
from r2_hf_assets.plan.due import find_due
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.plural import plural
from r2_hf_assets.settings import Settings
from r2_hf_assets.shards.builds import open_builds
from r2_hf_assets.shards.names import parse_path

if TYPE_CHECKING:
    from huggingface_hub.hf_api import LFSFileInfo

# A build takes minutes to hours until its record is stored.
YOUNG = timedelta(days=1)


@dataclass(frozen=True)
class Tree:
    """Files in LFS or Xet of a ref, which have a SHA-256."""

    ref: Ref
    files: tuple[RemoteFile, ...]


@dataclass(frozen=True)
class Purge:
    """What a purge does.

    Attributes:
        revisions: of main, that the squash drops.
        files: are deleted, because nothing names them.
        young: number of files that are left, though nothing names them either.
        holders: refs with the files that may still hold what was removed. These files stay.
    """

    revisions: int
    files: "tuple[LFSFileInfo, ...]"
    young: int
    holders: tuple[Tree, ...]


def plan_purge(
    stored: "Mapping[str, LFSFileInfo]",
    trees: Sequence[Tree],
    revisions: int = 0,
    *,
    current: Collection[str],
    earlier: Collection[str],
    removed: Collection[Name],
    now: datetime,
) -> Purge:
    """Return what to delete and to leave.

    Args:
        stored: by SHA-256.
        current, earlier: SHA-256 of current builds, and of all builds of amended chunks.
        removed: chunks from which something was removed.
    """
    named = {file.sha256 for tree in trees for file in tree.files}
    unnamed = stored.keys() - named - set(current)
    young = {sha256 for sha256 in unnamed if sha256 not in earlier and now - stored[sha256].pushed_at < YOUNG}
    main = [tree for tree in trees if (tree.ref.kind, tree.ref.name) == ("branch", BRANCH)]
    in_main = {file.sha256 for tree in main for file in tree.files}
    # A file of another name may be anything, such as the viewer's copy of the rows.
    affected = {*removed, None} if removed else set[Name | None]()
    held = [
        Tree(
            tree.ref, tuple(one for one in tree.files if one.sha256 not in in_main and parse_path(one.path) in affected)
        )
        for tree in trees
    ]
    deleted = tuple(stored[sha256] for sha256 in sorted(unnamed - young))
    return Purge(revisions, deleted, len(young), tuple(tree for tree in held if tree.files))


def remedy(ref: Ref, repo: HubClient) -> str:
    """Return how to delete a ref."""
    if ref.kind == "pull_request":
        return f'close it, then "Delete ref" at the end of {repo.dataset}/discussions/{ref.name}'
    command = f"hf repos {ref.kind} delete {repo.repo_id} {ref.name} --type dataset"
    return f"the dataset viewer makes it anew from main; or {command}" if ref.name.startswith("refs/") else command


def purge(
    settings: Settings,
    claim: Claim,
    recorded: Mapping[Name, str | None],
    *,
    dry_run: bool = True,
    log: Callable[[str], None] | None = None,
) -> Purge:
    """Squash main and delete what no ref has; with `dry_run`, only find it. `recorded` has the committed digests.

    Raises:
        R2HfError: chunks from which something was removed are still due, or it can't be told what is in use.
        ForeignDataset, AccessError, PlanError, RetriesExhausted.
    """
    plan, repo = open_plan(settings.plan, settings.r2), HubClient(settings.hub, log)
    require_repo(repo, repo.call_with_retry("read", repo.head))
    repo.call_on_head("read", lambda: check_ownership(repo, repo.head() or "", claim))
    amendments, planned = plan.amendments(), plan.planned()
    removed = _chunks_of(one for one in amendments if one.kind == REMOVE)
    if due := [chunk for chunk in find_due(planned, recorded) if chunk.name in removed]:
        raise R2HfError(
            f"{plural(len(due), 'chunk')} from which something was removed must be built again first, as "
            f"{repo.repo_id} still has it: run r2-hf process; nothing was purged"
        )
    builds, digests = open_builds(settings.plan, settings.r2), {chunk.name: chunk.digest for chunk in planned}
    list_stored = partial(repo.call_with_retry, "list the storage of", lambda: lfs_files(repo))

    def examine() -> Purge:
        """Read everything, and plan the purge. Needs the right to write, as the list of stored files does."""
        stored = list_stored()
        # What is built as it is planned now may be committed at any time.
        records = builds.readable_records(digests).items()
        valid = [one for name, one in records if (one.digest, one.dataset) == (digests[name], repo.dataset)]
        current = {file.sha256 for record in valid for file in record.all_files}
        earlier = frozenset[str]().union(*claim.known(_chunks_of(amendments)).values())
        trees, revisions = repo.call_on_head("list", lambda: _read_refs(repo))
        # What is not listed may have been stored since; a second list has it.
        if _find_unlisted(stored, trees) and (missing := _find_unlisted(list_stored(), trees)):
            ref, file = missing[0]
            raise R2HfError(
                f"the Hub's list of stored files lacks {len(missing)} that are in use, e.g. {file.path} of "
                f"{ref.kind.replace('_', ' ')} {ref.name}, so it can't be trusted; nothing is deleted"
            )
        now = datetime.now(UTC)
        return plan_purge(stored, trees, revisions, current=current, earlier=earlier, removed=removed, now=now)

    found = examine()
    if dry_run:
        return found
    if found.revisions:
        message = f"Purge: one commit in place of {found.revisions + 1}"
        repo.call_with_retry("squash", lambda: squash_history(repo, message))
    try:
        after = examine()
        repo.call_with_retry("delete files of", lambda: delete_lfs_files(repo, after.files))
    except R2HfError as error:
        raise type(error)(
            f"main is squashed, and the deletion is not complete ({error}); run r2-hf purge again"
        ) from None
    return replace(after, revisions=found.revisions)


def _chunks_of(amendments: Iterable[Amendment]) -> frozenset[Name]:
    return frozenset(target.chunk for one in amendments for target in one.targets if target.chunk)


def _read_refs(repo: HubClient) -> tuple[list[Tree], int]:
    """Return the tree of each ref, and how many revisions main has before its head."""
    refs, files = repo.refs(), dict[str, tuple[RemoteFile, ...]]()
    for revision in {ref.revision for ref in refs}:
        files[revision] = tuple(file for file in repo.list_files("", revision).values() if file.sha256)
    return [Tree(ref, files[ref.revision]) for ref in refs], len(repo.commits(BRANCH)) - 1


def _find_unlisted(stored: Collection[str], trees: Iterable[Tree]) -> list[tuple[Ref, RemoteFile]]:
    return [(tree.ref, file) for tree in trees for file in tree.files if file.sha256 not in stored]
