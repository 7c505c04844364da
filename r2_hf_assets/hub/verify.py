"""The commit check: what the Hub holds at the recorded commit, against what was built.

Asked of the Hub after the commit, by path, at that revision: each of the chunk's files is there with our SHA-256 and
size, and no part of an earlier build is left. A file that git itself holds, because the repo's .gitattributes say so,
has no SHA-256 on the Hub: neither a commit nor this check takes it for ours, and the finding says how to mend the repo.
"""

from collections.abc import Callable, Mapping

from r2_hf_assets.hub.client import LFS_ATTRIBUTES, RemoteFile
from r2_hf_assets.hub.commit import ask
from r2_hf_assets.hub.compare import files_of_chunk
from r2_hf_assets.hub.repo import Repo
from r2_hf_assets.retry import Retry
from r2_hf_assets.shards.names import path_in_repo
from r2_hf_assets.shards.record import BuildRecord
from r2_hf_assets.verdict import Findings, Verdict

_NOT_IN_LFS = f"not in LFS, so it can't be verified; add `{LFS_ATTRIBUTES}` to the repo's .gitattributes and run again"


def check_on_hub(
    repo: Repo,
    record: BuildRecord,
    revision: str,
    *,
    retry: Retry | None = None,
    log: Callable[[str], None] | None = None,
) -> Verdict:
    """Ask the Hub for the chunk's files at `revision`, and judge.

    Raises:
        AccessError, GaveUp: the Hub can't be asked.
    """
    there = ask(repo, "look at", lambda: files_of_chunk(repo, record, revision), retry, log)
    return on_hub(record, there)


def on_hub(record: BuildRecord, there: Mapping[str, RemoteFile]) -> Verdict:
    """Whether `there`, the chunk's files on the Hub by path, are exactly the record's."""
    mine = {path_in_repo(record.language, file.name): file for file in record.files}
    findings = Findings()
    for path, file in mine.items():
        remote = there.get(path)
        if remote is None:
            findings.add("absent", path)
        elif remote.sha256 is None:
            findings.add("not_in_lfs", f"{path}: {_NOT_IN_LFS}")
        elif remote.sha256 != file.sha256:
            findings.add("other_sha256", f"{path}: {file.sha256} was built, {remote.sha256} is there")
        elif remote.size != file.size:
            findings.add("other_size", f"{path}: {file.size} bytes were built, {remote.size} are there")
    for path in sorted(there.keys() - mine.keys()):
        findings.add("stale", path)
    numbers = {
        "files": len(mine),
        "files_on_hub": len(there),
        "bytes": record.bytes,
        "bytes_on_hub": sum(file.size for file in there.values()),
    }
    return findings.verdict(f"{len(mine)} files, {record.bytes} bytes: SHA-256 and size as built", numbers)
