"""One commit a chunk, exactly once in effect.

Compare the chunk's shards with the head; if all of them are there (sha256 and size) and no stale part is, there is
nothing to commit and the head is the record. Else upload what differs, and commit it on top of the very head it was
compared with (parentCommit): when anyone else commits in between, or when an answer never comes, the comparison is
made again before anything is repeated. So many machines may commit at once, and a commit that was in fact made is
found, not made twice. Other chunks' files are never touched.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from r2_hf_assets.errors import ShardError
from r2_hf_assets.hub.client import NotVisibleYet, RemoteFile, Upload, classify, explain
from r2_hf_assets.retry import Retry, T
from r2_hf_assets.shards.names import part_name, path_in_repo, stem
from r2_hf_assets.shards.record import BuildRecord, ShardFile

# How many parts beyond our own are looked for at a time: a chunk that shrank may have left that many behind.
_PROBE_PARTS = 32

# A commit on top of a head that moved is refused, so N committers need up to N tries each; the rest is for real
# trouble.
COMMIT_RETRY = Retry(attempts=30, base=0.25, cap=60.0, limit=3600.0)


class Repo(Protocol):
    """What a commit needs of the Hub; HubClient is the real one."""

    repo_id: str

    def head(self) -> str | None: ...
    def create_repo(self) -> None: ...
    def files(self, paths: Sequence[str], revision: str) -> dict[str, RemoteFile]: ...
    def upload(self, files: list[tuple[str, Path]]) -> list[Upload]: ...
    def check(self, upload: Upload, sha256: str) -> None: ...
    def commit(
        self, uploads: Sequence[Upload], deleted: Sequence[str], parent: str, message: str
    ) -> tuple[str, str]: ...
    def commit_url(self, oid: str) -> str: ...


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
    *,
    retry: Retry | None = None,
    log: Callable[[str], None] | None = None,
) -> CommitRecord:
    """Bring the Hub to hold exactly this chunk's shards.

    Args:
        open_files: gives local paths by name for those files that have to be uploaded.

    Raises:
        AccessError: the Hub refuses the token, the repo or the quota.
        GaveUp: passing trouble outlasted the retries; nothing is half visible.
        ShardError: a shard is absent or changed since it was built.
    """
    uploads: dict[str, Upload] = {}
    # Files stay open until the commit is made: what the Hub takes outside LFS is read only then.
    opened = ExitStack()

    def attempt() -> CommitRecord:
        head = _head(repo)
        absent, stale = compare(repo, record, head)
        if not absent and not stale:
            return _nothing_to_do(repo, head)
        missing = tuple(file for file in absent if file.name not in uploads)
        if missing:
            try:
                paths = opened.enter_context(open_files(missing))
            except ShardError:
                # A run beside this one may have committed them meanwhile, and removed them.
                head = _head(repo)
                if compare(repo, record, head) == ([], []):
                    return _nothing_to_do(repo, head)
                raise
            sent = repo.upload([(path_in_repo(record.language, f.name), paths[f.name]) for f in missing])
            for file, upload in zip(missing, sent, strict=True):
                repo.check(upload, file.sha256)
                uploads[file.name] = upload
        added = [uploads[file.name] for file in absent]
        oid, url = repo.commit(added, stale, head, _message(record))
        # The library drops what the head holds already, as git sees it; nothing left means no commit.
        return CommitRecord(oid, url, oid != head, tuple(upload.path for upload in added), tuple(stale))

    # Repeating an attempt is safe: it begins with a fresh look at the head.
    with opened:
        return ask(repo, "commit to", attempt, retry, log)


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


def compare(repo: Repo, record: BuildRecord, revision: str) -> tuple[list[ShardFile], list[str]]:
    """The shards that `revision` lacks or holds otherwise, and the chunk's files there that are its shards no more."""
    mine = {path_in_repo(record.language, file.name): file for file in record.files}
    there = chunk_files(repo, record, revision)
    absent = [file for path, file in mine.items() if not _same(there.get(path), file)]
    return absent, sorted(path for path in there if path not in mine)


def chunk_files(repo: Repo, record: BuildRecord, revision: str) -> dict[str, RemoteFile]:
    """Every file of the chunk that `revision` holds, ours or an earlier build's, by path."""
    there: dict[str, RemoteFile] = {}
    single = path_in_repo(record.language, f"{stem(record.number)}.parquet")
    part = 0
    while True:
        end = max(len(record.files), part) + _PROBE_PARTS
        names = [path_in_repo(record.language, part_name(record.number, n)) for n in range(part, end)]
        found = repo.files([single, *names] if part == 0 else names, revision)
        there |= found
        part = end
        if names[-1] not in found:
            return there


def _same(remote: RemoteFile | None, file: ShardFile) -> bool:
    return remote is not None and (remote.sha256, remote.size) == (file.sha256, file.size)


def _head(repo: Repo) -> str:
    head = repo.head()
    if head is None:
        repo.create_repo()
        head = repo.head()
    if head is None:
        raise NotVisibleYet
    return head


def _message(record: BuildRecord) -> str:
    return f"Add {record.language} {stem(record.number)} ({record.tally.rows} segments)"
