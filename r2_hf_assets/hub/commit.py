"""Commit a chunk by at most one commit, which names content that is on the Hub already.

Compare the chunk's build record with the head. If all of its files are there (SHA-256 and size) and no stale part is,
nothing is committed. Else commit the difference with the head as parentCommit: when another writer commits in between,
or the response is lost, the next attempt compares again, so many machines may commit at once and no commit is made
twice. Files of other chunks, repos of another plan and files unknown to this plan (ownership.py) are never touched.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from r2_hf_assets.errors import AccessError, DamagedShard, R2HfError
from r2_hf_assets.hub.card.merge import CARD_PATH
from r2_hf_assets.hub.card.text import CARD
from r2_hf_assets.hub.client import HubClient, RemoteFile
from r2_hf_assets.hub.errors import BAD_REQUEST, NotVisibleYet, server_message, status_of
from r2_hf_assets.hub.ownership import OWNER_PATH, Claim, check_ownership, refuse_other_plan, refuse_unknown
from r2_hf_assets.shards.names import part_name, path_in_repo, stem
from r2_hf_assets.shards.record import BuildRecord

# An earlier build of the chunk may have had more parts: this many beyond the record's are looked up at a time.
_PROBE_PARTS = 32
# The Hub recommends fewer than 100 files a commit, and a rename changes two paths.
_RENAMES_PER_COMMIT = 50
Renames = Sequence[tuple[str, str]]  # (old path, new path)


@dataclass(frozen=True)
class CommitRecord:
    """The state of the chunk on the Hub.

    Attributes:
        oid: the commit that was made, or the head that held everything already.
        added, removed: paths in the repo that the commit changed.
    """

    oid: str
    url: str
    committed: bool
    added: tuple[str, ...]
    removed: tuple[str, ...]


def commit_chunk(repo: HubClient, record: BuildRecord, claim: Claim) -> CommitRecord:
    """Make the Hub hold exactly this chunk's shards, as part of the claim's plan.

    Raises:
        AccessError: the Hub refuses the token, the repo or the quota.
        DamagedShard: the Hub does not hold the content that the record names; nothing changed.
        ForeignDataset: the repo belongs to another plan; nothing changed.
        RetriesExhausted: transient errors outlasted the retries; no partial state is visible.
        UnknownFile: a file of the chunk on the Hub is not known to this plan; nothing changed.
    """
    chunk = f"{record.language} {stem(record.number)}"
    wanted = files_of_record(record)

    def attempt() -> CommitRecord:
        head = ensure_repo(repo)
        named = check_ownership(repo, head, claim)
        there = files_of_chunk(repo, record, head)
        added = [path for path, file in wanted.items() if there.get(path) != file]
        stale = sorted(there.keys() - wanted.keys())
        if not added and not stale:
            return CommitRecord(head, repo.commit_url(head), False, (), ())
        if overwritten := [there[path] for path in (*added, *stale) if path in there]:
            name = (record.language, record.number)
            refuse_unknown(repo, head, overwritten, record.sha256s | claim.known([name]).get(name, frozenset()))
        contents = {} if named else {OWNER_PATH: claim.owner_file}
        if CARD_PATH not in repo.files([CARD_PATH], head):
            contents[CARD_PATH] = CARD  # without its YAML the viewer does not play the audio
        files = [wanted[path] for path in added]
        try:
            oid, url = repo.commit(files, stale, head, f"Add {chunk} ({record.tally.rows} segments)", contents)
        except Exception as error:
            if status_of(error) != BAD_REQUEST:
                raise
            refused = f"the Hub refuses the commit of {chunk}: {server_message(error)}"
            if files and not repo.holds(files):
                raise DamagedShard(f"{refused}; run again, it is built anew") from None
            raise AccessError(refused) from None
        return CommitRecord(oid, url, True, tuple(added), tuple(stale))

    # Repeating an attempt is safe: it begins by reading the head.
    return repo.call_with_retry("commit to", attempt)


def files_of_record(record: BuildRecord) -> dict[str, RemoteFile]:
    """Return the chunk's files as they should be on the Hub, by path."""
    paths = [path_in_repo(record.language, file.name) for file in record.files]
    return {path: RemoteFile(path, f.size, f.sha256) for path, f in zip(paths, record.files, strict=True)}


def files_of_chunk(repo: HubClient, record: BuildRecord, revision: str) -> dict[str, RemoteFile]:
    """Return every file of the chunk that `revision` holds, the record's or an earlier build's, by path."""
    there: dict[str, RemoteFile] = {}
    names = [f"{stem(record.number)}.parquet"]
    first, last = 0, len(record.files) + _PROBE_PARTS
    while True:
        names += [part_name(record.number, part) for part in range(first, last)]
        paths = [path_in_repo(record.language, name) for name in names]
        there |= repo.files(paths, revision)
        if paths[-1] not in there:
            return there
        first, last, names = last, last + _PROBE_PARTS, []


def check_claim(repo: HubClient, claim: Claim) -> None:
    """Create the repo if it is missing, and check before a chunk is built that its commit will not be refused."""
    repo.call_with_retry("look at", lambda: check_ownership(repo, ensure_repo(repo), claim))


def check_owner(repo: HubClient, revision: str, plan_id: str | None) -> None:
    """Check that the repo names this plan or none. Raises ForeignDataset, AccessError or RetriesExhausted."""
    repo.call_with_retry("look at", lambda: refuse_other_plan(repo, revision, plan_id))


def ensure_repo(repo: HubClient) -> str:
    """Return the head, of a new repo when there was none. Raises NotVisibleYet, a transient error."""
    head = repo.head()
    if head is None:
        repo.create_repo()
        head = repo.head()
    if head is None:
        raise NotVisibleYet
    return head


def rename_files(repo: HubClient, groups: Iterable[Renames]) -> None:
    """Rename files without moving bytes, each group whole within one commit: at every revision each file exists once.

    Idempotent: after a 412 or a lost response the next attempt reads the head again and renames what is left.

    Raises:
        R2HfError: a new path is taken by another file, or an old one is not in LFS.
    """
    for files in _batches(groups):
        repo.call_with_retry("rename files of", partial(_rename, repo, files))


def _batches(groups: Iterable[Renames]) -> Iterator[list[tuple[str, str]]]:
    """Yield whole groups, as many together as fit into one commit, at least one."""
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
    there = repo.files([path for pair in files for path in pair], head) if head else {}
    left = [(old, new) for old, new in files if old in there]
    for old, new in left:
        if new in there:
            raise R2HfError(f"{old} can't be renamed: {new} is there already on the Hub")
        if there[old].sha256 is None:
            raise R2HfError(f"{old} can't be renamed: it is not in LFS on the Hub")
    if not left or head is None:
        return
    old, new = left[0]
    more = f" and {len(left) - 1} more" if len(left) > 1 else ""
    renamed = [replace(there[old], path=new) for old, new in left]
    repo.commit(renamed, [old for old, _ in left], head, f"Rename {old} to {new}{more}")
