"""The commit check: compare the files on the Hub at the recorded commit with the build record.

Each of the chunk's files must be there with the built SHA-256 and size, and no part of an earlier build may be left.
The Hub reports no SHA-256 of a file that the repo's .gitattributes keep out of LFS, so such a file fails the check, and
the finding says what to add to them.
"""

from collections.abc import Callable, Mapping

from r2_hf_assets.hub.client import LFS_ATTRIBUTES, HubClient, RemoteFile
from r2_hf_assets.hub.commit import ask, files_of_chunk, files_of_record
from r2_hf_assets.shards.record import BuildRecord
from r2_hf_assets.verdict import Findings, Verdict

_NOT_IN_LFS = f"not in LFS, so it can't be verified; add `{LFS_ATTRIBUTES}` to the repo's .gitattributes and run again"


def check_on_hub(
    repo: HubClient, record: BuildRecord, revision: str, *, log: Callable[[str], None] | None = None
) -> Verdict:
    """Check the chunk's files at `revision`.

    Raises:
        AccessError, GaveUp: the Hub can't be read.
    """
    return on_hub(record, ask(repo, "look at", lambda: files_of_chunk(repo, record, revision), log=log))


def on_hub(record: BuildRecord, there: Mapping[str, RemoteFile]) -> Verdict:
    """Check that `there`, the chunk's files on the Hub by path, are exactly the record's."""
    expected = files_of_record(record)
    findings = Findings()
    for path, file in expected.items():
        remote = there.get(path)
        if remote is None:
            findings.add("absent", path)
        elif remote.sha256 is None:
            findings.add("not_in_lfs", f"{path}: {_NOT_IN_LFS}")
        elif remote.sha256 != file.sha256:
            findings.add("other_sha256", f"{path}: {file.sha256} was built, {remote.sha256} is there")
        elif remote.size != file.size:
            findings.add("other_size", f"{path}: {file.size} bytes were built, {remote.size} are there")
    for path in sorted(there.keys() - expected.keys()):
        findings.add("stale", path)
    numbers = {
        "files": len(expected),
        "files_on_hub": len(there),
        "bytes": record.bytes,
        "bytes_on_hub": sum(file.size for file in there.values()),
    }
    return findings.verdict(f"{len(expected)} files, {record.bytes} bytes: SHA-256 and size as built", numbers)
