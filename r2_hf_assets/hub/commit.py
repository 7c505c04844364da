"""Commit a chunk by at most one commit, which names content that the Hub already stores.

Compare the chunk's build record with the head. If the head has exactly its files (SHA-256 and size), nothing is
committed. Else commit the difference with the head as parentCommit: after a concurrent commit or a lost response the
next attempt compares again, so many machines may commit at once and no commit is made twice. Files of other chunks,
repos of another plan and files unknown to this plan (ownership.py) do not change.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from r2_hf_assets.errors import AccessError, Amended, DamagedShard, R2HfError
from r2_hf_assets.hub.card.merge import CARD_PATH
from r2_hf_assets.hub.card.text import CARD
from r2_hf_assets.hub.client import HubClient, RemoteFile
from r2_hf_assets.hub.errors import BAD_REQUEST, NotVisibleYet, server_message, status_of
from r2_hf_assets.hub.ownership import OWNER_PATH, Claim, check_ownership, refuse_unknown
from r2_hf_assets.plural import plural
from r2_hf_assets.shards.index import IndexHeader
from r2_hf_assets.shards.names import index_path, part_name, path_in_repo, stem
from r2_hf_assets.shards.record import BuildRecord

# An earlier build of the chunk may have had more parts: this many beyond the record's are queried at a time.
_PROBE_PARTS = 32
# The Hub recommends fewer than 100 files a commit, and a rename changes two paths.
_RENAMES_PER_COMMIT = 50
_PATHS_PER_REQUEST = 500
Renames = Sequence[tuple[str, str]]  # (old path, new path)


@dataclass(frozen=True)
class CommitRecord:
    """The new commit of a chunk, with the paths that it changed, or the head that was already up to date."""

    oid: str
    url: str
    committed: bool
    added: tuple[str, ...]
    removed: tuple[str, ...]


def commit_chunk(repo: HubClient, record: BuildRecord, claim: Claim) -> CommitRecord:
    """Make the chunk's files on the Hub exactly those of the record. An error leaves the repo's files unchanged.

    Raises DamagedShard when the Hub does not store the content that the record names, and the errors of ownership.py.
    """
    chunk = f"{record.language} {stem(record.number)}"
    expected = files_of_record(record)

    def attempt() -> CommitRecord:
        head = ensure_repo(repo)
        if not claim.is_planned(record.name, record.digest):  # after the head: see amendments.py
            raise Amended(f"{chunk} was amended since it was built; it is due, run it again")
        owned = check_ownership(repo, head, claim)
        existing = files_of_chunk(repo, record, head)
        added = [path for path, file in expected.items() if existing.get(path) != file]
        stale = sorted(existing.keys() - expected.keys())
        if not added and not stale:
            return CommitRecord(head, repo.commit_url(head), False, (), ())
        if overwritten := [existing[path] for path in (*added, *stale) if path in existing]:
            known = claim.known([record.name]).get(record.name, frozenset())
            refuse_unknown(repo, head, overwritten, record.sha256s | known)
        contents = {} if owned else {OWNER_PATH: claim.owner_file}
        if CARD_PATH not in repo.files([CARD_PATH], head):
            contents[CARD_PATH] = CARD  # without its YAML the viewer does not play the audio
        files = [expected[path] for path in added]
        try:
            oid, url = repo.commit(
                files, stale, head, f"Add {chunk} ({plural(record.tally.rows, 'segment')})", contents
            )
        except Exception as error:
            if status_of(error) != BAD_REQUEST:
                raise
            refusal = f"the Hub refuses the commit of {chunk}: {server_message(error)}"
            if files and not repo.has_content(files):
                raise DamagedShard(f"{refusal}; run again to rebuild it") from None
            raise AccessError(refusal) from None
        return CommitRecord(oid, url, True, tuple(added), tuple(stale))

    # Repeating an attempt is safe: it begins by reading the head.
    return repo.call_on_head("commit to", attempt)


def commit_indexes(repo: HubClient, indexes: Mapping[RemoteFile, IndexHeader], claim: Claim) -> Collection[RemoteFile]:
    """Commit indexes of files that the repo has, in one commit; return those that are at its head then.

    Each index is left out whose files have changed, or whose chunk was amended since. Repeating this is safe: it begins
    by reading the head.
    """
    head = ensure_repo(repo)
    planned = {file: one for file, one in indexes.items() if claim.is_planned((one.language, one.number), one.digest)}
    owned = check_ownership(repo, head, claim)
    paths = [path for index, one in planned.items() for path in (index.path, *(part.path for part in one.files))]
    existing: dict[str, RemoteFile] = {}
    for first in range(0, len(paths), _PATHS_PER_REQUEST):
        existing |= repo.files(paths[first : first + _PATHS_PER_REQUEST], head)
    valid = [
        index
        for index, one in planned.items()
        if all((file := existing.get(part.path)) and (file.sha256 or "") == part.sha256 for part in one.files)
    ]
    added = [index for index in valid if existing.get(index.path) != index]
    if added:
        contents = {} if owned else {OWNER_PATH: claim.owner_file}
        repo.commit(added, [], head, f"Add {plural(len(added), 'index', 'indexes')} of existing chunks", contents)
    return valid


def files_of_record(record: BuildRecord) -> dict[str, RemoteFile]:
    """Return the chunk's files as they should be on the Hub, by path."""
    return {file.path: RemoteFile(file.path, file.size, file.sha256) for file in record.all_files}


def files_of_chunk(repo: HubClient, record: BuildRecord, revision: str) -> dict[str, RemoteFile]:
    """Return every file of the chunk at `revision`, the record's or an earlier build's, by path."""
    existing: dict[str, RemoteFile] = {}
    paths = [index_path(*record.name), path_in_repo(record.language, f"{stem(record.number)}.parquet")]
    first, last = 0, len(record.files) + _PROBE_PARTS
    while True:
        paths += [path_in_repo(record.language, part_name(record.number, part)) for part in range(first, last)]
        existing |= repo.files(paths, revision)
        if paths[-1] not in existing:
            return existing
        first, last, paths = last, last + _PROBE_PARTS, []


def prepare_repo(repo: HubClient, claim: Claim) -> None:
    """Create the repo if it is missing, and check before a chunk is built that its commit will not be refused."""
    repo.call_on_head("read", lambda: check_ownership(repo, ensure_repo(repo), claim))


def ensure_repo(repo: HubClient) -> str:
    """Return the head, after creating the repo if it is missing. Raises NotVisibleYet, a transient error."""
    if (head := repo.head()) is None:
        repo.create_repo()
        head = repo.head()
    if head is None:
        raise NotVisibleYet
    return head


def rename_files(repo: HubClient, groups: Iterable[Renames]) -> None:
    """Rename files without an upload, each group within one commit: at every revision each file exists once.

    Idempotent: after a 412 or a lost response the next attempt reads the head and renames the remaining files. Raises
    R2HfError when a new path exists, or an old one is not in LFS.
    """
    for files in _batches(groups):
        repo.call_with_retry("rename files of", partial(_rename, repo, files))


def _batches(groups: Iterable[Renames]) -> Iterator[list[tuple[str, str]]]:
    """Yield as many whole groups as fit into one commit, at least one."""
    files: list[tuple[str, str]] = []
    for group in groups:
        if files and len(files) + len(group) > _RENAMES_PER_COMMIT:
            yield files
            files = []
        files += group
    if files:
        yield files


def _rename(repo: HubClient, files: Renames) -> None:
    head = repo.head()
    existing = repo.files([path for pair in files for path in pair], head) if head else {}
    remaining = [(old, new) for old, new in files if old in existing]
    for old, new in remaining:
        if new in existing:
            raise R2HfError(f"{old} can't be renamed: {new} already exists on the Hub")
        if existing[old].sha256 is None:
            raise R2HfError(f"{old} can't be renamed: it is not in LFS on the Hub")
    if not remaining or head is None:
        return
    old, new = remaining[0]
    more = f" and {len(remaining) - 1} more" if len(remaining) > 1 else ""
    renamed = [replace(existing[old], path=new) for old, new in remaining]
    repo.commit(renamed, [old for old, _ in remaining], head, f"Rename {old} to {new}{more}")
