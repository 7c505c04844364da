"""One commit for a chunk or for several, exactly once in effect.

Compare the chunks' shards with the head; if all of them are there (sha256 and size) and no stale part is, there is
nothing to commit and the head is the record. Else upload what differs, and commit it on top of the very head it was
compared with (parentCommit): when anyone else commits in between, or when an answer never comes, the comparison is
made again before anything is repeated. So many machines may commit at once, and a commit that was in fact made is
found, not made twice. Other chunks' files are never touched, and neither is a repo of another plan or a file that this
plan does not know (ownership.py).

Chunks that are committed together are compared with the same head, and each has a record of its own. One whose shards
are gone or damaged is left out of the commit and stops none of the others.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

from r2_hf_assets.errors import ShardError
from r2_hf_assets.hub.card.start import CARD, CARD_PATH
from r2_hf_assets.hub.client import NotVisibleYet, Upload, classify, explain
from r2_hf_assets.hub.compare import Difference, compare, compare_all
from r2_hf_assets.hub.ownership import OWNER_PATH, Claim, refuse_other_plan, refuse_unknown, require_ours
from r2_hf_assets.hub.repo import Repo
from r2_hf_assets.retry import Retry, T
from r2_hf_assets.shards.names import path_in_repo, stem
from r2_hf_assets.shards.record import BuildRecord, ShardFile

# Chunks named in a commit's title; all stand in its description.
_IN_TITLE = 3

# A commit on top of a head that moved is refused, so N committers need up to N tries each; the rest is for real
# trouble.
COMMIT_RETRY = Retry(attempts=30, base=0.25, cap=60.0, limit=3600.0)


# Gives local paths by name for files of a chunk, for as long as the context is open.
OpenFiles = Callable[[BuildRecord, tuple[ShardFile, ...]], AbstractContextManager[dict[str, Path]]]


@dataclass(frozen=True)
class CommitRecord:
    """Where the chunk stands on the Hub.

    Attributes:
        oid: the commit that was made, or the head at which everything was there already.
        committed: whether this call made a commit.
        added, removed: paths in the repo that the commit changed.
    """

    oid: str
    url: str
    committed: bool
    added: tuple[str, ...]
    removed: tuple[str, ...]


def commit_chunk(
    repo: Repo,
    record: BuildRecord,
    open_files: Callable[[tuple[ShardFile, ...]], AbstractContextManager[dict[str, Path]]],
    claim: Claim,
    *,
    retry: Retry | None = None,
    log: Callable[[str], None] | None = None,
) -> CommitRecord:
    """Bring the Hub to hold exactly this chunk's shards.

    Args:
        open_files: gives local paths by name for those files that have to be uploaded.
        claim: the plan that the chunk is of.

    Raises:
        AccessError: the Hub refuses the token, the repo or the quota.
        ForeignDataset: the repo belongs to another plan; nothing changed.
        GaveUp: passing trouble outlasted the retries; nothing is half visible.
        ShardError: a shard is absent or changed since it was built.
        UnknownFile: a file of the chunk on the Hub is not known to this plan; nothing changed.
    """
    (done,) = commit_chunks(repo, [record], lambda _, files: open_files(files), claim, retry=retry, log=log)
    if isinstance(done, ShardError):
        raise done
    return done


def commit_chunks(
    repo: Repo,
    records: Sequence[BuildRecord],
    open_files: OpenFiles,
    claim: Claim,
    *,
    retry: Retry | None = None,
    log: Callable[[str], None] | None = None,
) -> list[CommitRecord | ShardError]:
    """Bring the Hub to hold exactly these chunks' shards, by one commit at the most.

    Args:
        records: of different chunks.
        open_files: gives local paths by name for those files of a chunk that have to be uploaded.

    Returns:
        For each chunk, in order, where it stands, or why it was left out: a shard is absent or changed, or a file on
        the Hub is not known to this plan.

    Raises:
        AccessError: the Hub refuses the token, the repo or the quota.
        ForeignDataset: the repo belongs to another plan; nothing changed.
        GaveUp: passing trouble outlasted the retries; nothing is half visible.
    """
    uploads: dict[str, Upload] = {}
    left_out: dict[int, ShardError] = {}
    # Files stay open until the commit is made: what the Hub takes outside LFS is read only then.
    opened = ExitStack()

    def upload(record: BuildRecord, absent: Sequence[ShardFile]) -> None:
        path_of = {file: path_in_repo(record.language, file.name) for file in absent}
        missing = tuple(file for file in absent if path_of[file] not in uploads)
        if missing:
            paths = opened.enter_context(open_files(record, missing))
            try:
                sent = repo.upload([(path_of[file], paths[file.name]) for file in missing])
            except Exception:
                gone = [name for name, path in paths.items() if not path.exists()]
                if not gone:
                    raise
                raise ShardError(f"shard {gone[0]} went away; materialize parquet_shards again") from None
            for file, uploaded in zip(missing, sent, strict=True):
                repo.check(uploaded, file.sha256)
                uploads[uploaded.path] = uploaded

    def attempt() -> list[CommitRecord | ShardError]:
        head = _head(repo)
        named = require_ours(repo, head, claim)
        done: dict[int, CommitRecord | ShardError] = dict(left_out)
        changes: dict[int, tuple[list[str], list[str]]] = {}
        waiting = [index for index in range(len(records)) if index not in left_out]
        compared = compare_all(repo, [records[index] for index in waiting], head)
        for index, differs in zip(waiting, compared, strict=True):
            record = records[index]
            if not differs:
                done[index] = _nothing_to_do(repo, head)
                continue
            try:
                _refuse_unknown(repo, head, record, differs, claim)
                upload(record, differs.absent)
            except ShardError as error:
                # A run beside this one may have committed them meanwhile, and removed them.
                now = _head(repo)
                if not compare(repo, record, now):
                    done[index] = _nothing_to_do(repo, now)
                else:
                    done[index] = left_out[index] = error
                continue
            paths = [path_in_repo(record.language, file.name) for file in differs.absent]
            changes[index] = (paths, [file.path for file in differs.stale])
        if changes:
            added = [uploads[path] for paths, _ in changes.values() for path in paths]
            removed = [path for _, stale in changes.values() for path in stale]
            contents = {} if named else {OWNER_PATH: claim.owner_file}
            if CARD_PATH not in repo.files([CARD_PATH], head):
                contents[CARD_PATH] = CARD  # what makes the audio play
            oid, url = repo.commit(added, removed, head, _message([records[index] for index in changes]), contents)
            for index, (paths, stale) in changes.items():
                done[index] = CommitRecord(oid, url, oid != head, tuple(paths), tuple(stale))
        return [done[index] for index in range(len(records))]

    # Repeating an attempt is safe: it begins with a fresh look at the head.
    with opened:
        return ask(repo, "commit to", attempt, retry, log)


def _refuse_unknown(repo: Repo, head: str, record: BuildRecord, differs: Difference, claim: Claim) -> None:
    in_the_way = (*differs.replaced, *differs.stale)
    if in_the_way:
        name = (record.language, record.number)
        refuse_unknown(repo, head, in_the_way, record.sha256s | claim.known([name]).get(name, frozenset()))


def _nothing_to_do(repo: Repo, head: str) -> CommitRecord:
    return CommitRecord(head, repo.commit_url(head), False, (), ())


def ask(
    repo: Repo, what: str, call: Callable[[], T], retry: Retry | None = None, log: Callable[[str], None] | None = None
) -> T:
    """What `call` answers, made again while trouble may pass. A refusal by the Hub comes as one line.

    Raises:
        AccessError: the Hub refuses the token, the repo or the quota.
        GaveUp: passing trouble outlasted the retries.
    """
    try:
        return (retry or COMMIT_RETRY).call(f"{what} {repo.repo_id}", call, classify, log)
    except Exception as error:
        refused = explain(error, repo.repo_id)
        if refused is None:
            raise
        raise refused from None


def check_claim(
    repo: Repo, claim: Claim, *, retry: Retry | None = None, log: Callable[[str], None] | None = None
) -> None:
    """Look, before a chunk is built, whether its commit would be refused.

    Raises:
        ForeignDataset: the repo belongs to another plan.
        AccessError, GaveUp: the Hub can't be asked.
    """

    def look() -> None:
        head = repo.head()
        if head is not None:
            require_ours(repo, head, claim)

    ask(repo, "look at", look, retry, log)


def check_owner(repo: Repo, revision: str, plan_id: str | None, *, log: Callable[[str], None] | None = None) -> None:
    """Refuse a repo that names another plan; one that names none is nobody's.

    Raises:
        ForeignDataset: it does.
        AccessError, GaveUp: the Hub can't be asked.
    """
    ask(repo, "look at", lambda: refuse_other_plan(repo, revision, plan_id), log=log)


def _head(repo: Repo) -> str:
    head = repo.head()
    if head is None:
        repo.create_repo()
        head = repo.head()
    if head is None:
        raise NotVisibleYet
    return head


def _message(records: Sequence[BuildRecord]) -> str:
    """A title; for several chunks also a description, in which each has a line."""
    lines = [f"{record.language} {stem(record.number)} ({record.tally.rows} segments)" for record in records]
    if len(lines) == 1:
        return f"Add {lines[0]}"
    named = ", ".join(f"{record.language} {stem(record.number)}" for record in records[:_IN_TITLE])
    more = f" and {len(records) - _IN_TITLE} more" if len(records) > _IN_TITLE else ""
    rows = sum(record.tally.rows for record in records)
    return "\n".join([f"Add {named}{more} ({rows} segments)", "", *lines])
