"""Compares what is planned, what the history says, what was built and what the Hub holds. Pure: data in, data out.

Every planned chunk that is not as the history says, and every file under data/ of no planned chunk, is one Difference
(report.py says of each kind what to do). The files of a committed chunk are compared with those that its commit's
record names, all others with the build record. A chunk that is planned only is due: a count, and no difference.

    lost          committed, and not on the Hub as it was committed
    recordable    on the Hub as it was built, and not recorded
    unproven      on the Hub, neither recorded nor as it was built here: verify.py reads it there
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from r2_hf_assets.hub.client import RemoteFile
from r2_hf_assets.plan.chunks import Planned
from r2_hf_assets.plan.due import DUE_AGAIN, is_digest, lost
from r2_hf_assets.reconcile.report import Difference, Due, Kind, Recovered, Report, in_order
from r2_hf_assets.reconcile.state import State
from r2_hf_assets.shards.names import parts_in_order, path_in_repo
from r2_hf_assets.shards.record import ShardFile


@dataclass
class _Findings:
    differences: list[Difference] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    lost: list[Due] = field(default_factory=list)
    recordable: list[Recovered] = field(default_factory=list)
    unproven: list[Planned] = field(default_factory=list)


def compare(state: State) -> Report:
    """Find every difference."""
    on_hub = state.hub.by_chunk()
    planned = {(chunk.language, chunk.number): chunk for chunk in state.planned}
    found = _Findings()
    for name, files in on_hub.items():
        if name not in planned:
            found.differences += [Difference(Kind.UNKNOWN, None, file.path) for file in files]
    recorded = {**state.shards_recorded, **state.commits_recorded}
    for name in lost(planned, recorded):
        found.differences.append(Difference(Kind.NOT_PLANNED, name, f"digest {recorded[name]}"))
    for name, chunk in planned.items():
        _compare_chunk(chunk, state, {file.path: file for file in on_hub.get(name, [])}, found)
    lost_before = {name for name in planned if state.commits_recorded.get(name) == DUE_AGAIN}
    return Report(
        revision=state.hub.revision,
        planned=len(planned),
        recorded=found.counts["recorded"],
        due=len(planned) - found.counts["recorded"],
        nothing=found.counts["nothing"],
        as_built=found.counts["as_built"],
        unchecked=found.counts["unchecked"],
        files=len(state.hub.files),
        differences=in_order(found.differences),
        recordable=tuple(found.recordable),
        unproven=tuple(found.unproven),
        lost=tuple(found.lost),
        redo=tuple(sorted({due.name for due in found.lost} | lost_before)),
    )


def update(report: Report, verified: Sequence[Recovered | Due]) -> Report:
    """The report once its unproven chunks were read: each is recordable, or unverifiable with the reason."""
    recovered = {(item.chunk.language, item.chunk.number): item for item in verified if isinstance(item, Recovered)}
    failed = {item.name: item for item in verified if isinstance(item, Due)}
    named = {difference.chunk for difference in report.differences if difference.kind is Kind.UNRECORDED}
    # Differences from a build record that turned out to be of another build, as good.
    refuted = recovered.keys() - named
    kept = (
        difference
        for difference in report.differences
        if difference.chunk not in refuted and not (difference.kind is Kind.UNRECORDED and difference.chunk in failed)
    )
    other_build = (
        Difference(Kind.UNRECORDED, name, f"{len(recovered[name].files)} files, other than the build record's")
        for name in refuted
    )
    unverifiable = (Difference(Kind.UNVERIFIABLE, due.name, due.why) for due in failed.values())
    return replace(
        report,
        differences=in_order([*kept, *other_build, *unverifiable]),
        recordable=(*report.recordable, *recovered.values()),
        unproven=(),
    )


def _compare_chunk(chunk: Planned, state: State, on_hub: Mapping[str, RemoteFile], found: _Findings) -> None:
    name = (chunk.language, chunk.number)

    def differs(kind: Kind, detail: str) -> None:
        found.differences.append(Difference(kind, name, detail))

    recorded = {"hub_commit": state.commits_recorded.get(name), "parquet_shards": state.shards_recorded.get(name)}
    for asset, digest in recorded.items():
        if is_digest(digest) and digest != chunk.digest:
            differs(Kind.OTHER_DIGEST, f"{asset}: {digest} is recorded, {chunk.digest} is planned")
    build = state.builds.get(name)
    if build is not None and build.digest != chunk.digest:
        differs(Kind.OTHER_BUILD, f"{build.digest} was built, {chunk.digest} is planned")
        build = None
    committed = recorded["hub_commit"] == chunk.digest
    found.counts["recorded"] += committed
    expected = state.committed.get(name) if committed else None
    if expected is None and build is not None:
        expected = build.files
    if expected is None:
        _compare_without_record(chunk, committed, on_hub, found)
        return
    wrong = list(_compare_files(chunk.language, expected, on_hub))
    if not wrong:
        found.counts["as_built"] += 1
        if missing := [asset for asset, digest in recorded.items() if digest != chunk.digest]:
            what = f"{len(expected)} files as built" if expected else "built without a row, so without a file"
            differs(Kind.UNRECORDED, f"{what}; not recorded: {', '.join(missing)}")
            how = "the build record" if build else "the record of its commit"
            found.recordable.append(Recovered(chunk, expected, how, build.stats if build else None))
    elif committed:
        for kind, detail in wrong:
            differs(kind, detail)
        found.lost.append(Due(name, "; ".join(f"{kind.value}: {detail}" for kind, detail in wrong[:3]), expected))
    elif on_hub:  # else it is built and not committed yet: due
        found.unproven.append(chunk)
        others = [(kind, detail) for kind, detail in wrong if kind is not Kind.ABSENT]
        for kind, detail in others or [(Kind.UNVERIFIABLE, f"absent: {detail}") for _, detail in wrong]:
            differs(kind, detail)


def _compare_without_record(
    chunk: Planned, committed: bool, on_hub: Mapping[str, RemoteFile], found: _Findings
) -> None:
    name = (chunk.language, chunk.number)
    if committed and on_hub and parts_in_order(*name, on_hub) is not None:
        found.counts["unchecked"] += 1
    elif committed:
        listed = f"its parts are not 00 to the last: {', '.join(sorted(on_hub)[:5])}"
        detail = listed if on_hub else "no file, and no record that says it had none"
        found.differences.append(Difference(Kind.ABSENT, name, detail))
        found.lost.append(Due(name, detail))
    elif on_hub:
        found.differences.append(Difference(Kind.UNRECORDED, name, f"{len(on_hub)} files without a build record"))
        found.unproven.append(chunk)
    else:
        found.counts["nothing"] += 1


def _compare_files(
    language: str, expected: Sequence[ShardFile], on_hub: Mapping[str, RemoteFile]
) -> Iterator[tuple[Kind, str]]:
    """What is wrong with a chunk's files; ABSENT at most once, and first."""
    by_path = {path_in_repo(language, file.name): file for file in expected}
    if absent := sorted(by_path.keys() - on_hub.keys()):
        yield Kind.ABSENT, f"{len(absent)} of {len(by_path)} files: {', '.join(absent[:5])}"
    for path, file in sorted(by_path.items()):
        if path in on_hub and (why := _compare_content(file, on_hub[path])):
            yield Kind.OTHER_CONTENT, f"{path}: {why}"
    for path in sorted(on_hub.keys() - by_path.keys()):
        yield Kind.STALE, path


def _compare_content(built: ShardFile, remote: RemoteFile) -> str | None:
    """In what the Hub's file is not the built one; None when it is."""
    if remote.size != built.size:
        return f"{built.size} bytes were built, {remote.size} are there"
    if not built.sha256:
        return None  # it was not in LFS when it was recorded
    if remote.sha256 is None:
        return "it is not in LFS, so the Hub knows no SHA-256 of it"
    return None if remote.sha256 == built.sha256 else f"{built.sha256} was built, {remote.sha256} is there"
