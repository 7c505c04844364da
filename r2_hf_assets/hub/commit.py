"""One commit for a chunk, exactly once in effect: it names content that is on the Hub already.

Compare the chunk's build record with the head; if all of its files are there (sha256 and size) and no stale part is,
there is nothing to commit and the head is the record. Else commit what differs on top of the very head it was compared
with (parentCommit): when anyone else commits in between, or when an answer never comes, the comparison is made again
before anything is repeated. So many machines may commit at once, and a commit that was in fact made is found, not made
twice. Other chunks' files are never touched, and neither is a repo of another plan or a file that this plan does not
know (ownership.py).
"""

from collections.abc import Callable
from dataclasses import dataclass

from r2_hf_assets.errors import AccessError, DamagedShard
from r2_hf_assets.hub.card.start import CARD, CARD_PATH
from r2_hf_assets.hub.client import RemoteFile
from r2_hf_assets.hub.compare import compare
from r2_hf_assets.hub.errors import BAD_REQUEST, NotVisibleYet, classify, explain, server_message, status_of
from r2_hf_assets.hub.ownership import OWNER_PATH, Claim, refuse_other_plan, refuse_unknown, require_ours
from r2_hf_assets.hub.repo import Repo
from r2_hf_assets.retry import COMMIT_RETRY, Retry, T
from r2_hf_assets.shards.names import path_in_repo, stem
from r2_hf_assets.shards.record import BuildRecord


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
    claim: Claim,
    *,
    retry: Retry | None = None,
    log: Callable[[str], None] | None = None,
) -> CommitRecord:
    """Bring the Hub to hold exactly this chunk's shards.

    Args:
        claim: the plan that the chunk is of.

    Raises:
        AccessError: the Hub refuses the token, the repo or the quota.
        DamagedShard: the Hub does not hold the content that the record names; nothing changed.
        ForeignDataset: the repo belongs to another plan; nothing changed.
        GaveUp: transient errors outlasted the retries; nothing is half visible.
        UnknownFile: a file of the chunk on the Hub is not known to this plan; nothing changed.
    """

    def attempt() -> CommitRecord:
        head = ensure_repo(repo)
        named = require_ours(repo, head, claim)
        differs = compare(repo, record, head)
        if not differs:
            return CommitRecord(head, repo.commit_url(head), False, (), ())
        if in_the_way := (*differs.replaced, *differs.stale):
            name = (record.language, record.number)
            refuse_unknown(repo, head, in_the_way, record.sha256s | claim.known([name]).get(name, frozenset()))
        files = [RemoteFile(path_in_repo(record.language, f.name), f.size, f.sha256) for f in differs.absent]
        stale = [file.path for file in differs.stale]
        contents = {} if named else {OWNER_PATH: claim.owner_file}
        if CARD_PATH not in repo.files([CARD_PATH], head):
            contents[CARD_PATH] = CARD  # what makes the audio play
        message = f"Add {record.language} {stem(record.number)} ({record.tally.rows} segments)"
        try:
            oid, url = repo.commit(files, stale, head, message, contents)
        except Exception as error:
            if status_of(error) != BAD_REQUEST:
                raise
            refused = f"the Hub refuses the commit of {record.language} {stem(record.number)}: {server_message(error)}"
            if files and not repo.holds(files):
                raise DamagedShard(f"{refused}; run again, it is built anew") from None
            raise AccessError(refused) from None
        return CommitRecord(oid, url, True, tuple(file.path for file in files), tuple(stale))

    # Repeating an attempt is safe: it begins with a fresh look at the head.
    return ask(repo, "commit to", attempt, retry, log)


def ask(
    repo: Repo, what: str, call: Callable[[], T], retry: Retry | None = None, log: Callable[[str], None] | None = None
) -> T:
    """What `call` answers, made again after transient errors. A refusal by the Hub comes as one line.

    Raises:
        AccessError: the Hub refuses the token, the repo or the quota.
        GaveUp: transient errors outlasted the retries.
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
    """Look, before a chunk is built, whether its commit would be refused, and make the repo that its content goes to.

    Raises:
        ForeignDataset: the repo belongs to another plan.
        AccessError, GaveUp: the Hub can't be asked.
    """

    def look() -> None:
        require_ours(repo, ensure_repo(repo), claim)

    ask(repo, "look at", look, retry, log)


def check_owner(repo: Repo, revision: str, plan_id: str | None, *, log: Callable[[str], None] | None = None) -> None:
    """Refuse a repo that names another plan; one that names none is nobody's.

    Raises:
        ForeignDataset: it does.
        AccessError, GaveUp: the Hub can't be asked.
    """
    ask(repo, "look at", lambda: refuse_other_plan(repo, revision, plan_id), log=log)


def ensure_repo(repo: Repo) -> str:
    """The head; the repo is made when there is none. Raises NotVisibleYet, a transient error."""
    head = repo.head()
    if head is None:
        repo.create_repo()
        head = repo.head()
    if head is None:
        raise NotVisibleYet
    return head
