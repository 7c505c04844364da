"""Compares what is planned, what the history says, what was built and what the Hub holds. Pure: data in, data out.

Every planned chunk that is not as the history says, and every file under data/ that no planned chunk accounts for, is
one Difference (report.py says of each kind what to do). A committed chunk is held against the files that its commit's
record names, any other against its build record. A chunk that is planned and stands nowhere else is simply due: a
count, and no difference. What was committed and is not there as it was is `lost`; what is there as it was built and
only not recorded is `recordable`; what is there, neither recorded nor as it was built here, is `unproven`: prove.py can
tell by reading it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from r2_hf_assets.hub.client import RemoteFile
from r2_hf_assets.hub.inventory import Inventory
from r2_hf_assets.plan.chunks import Planned
from r2_hf_assets.plan.due import DUE_AGAIN, is_digest, lost
from r2_hf_assets.reconcile.report import Difference, Due, Kind, Name, Recovered, Report
from r2_hf_assets.shards.names import parts_in_order, path_in_repo
from r2_hf_assets.shards.record import BuildRecord, ShardFile

Recorded = Mapping[Name, str | None]


@dataclass(frozen=True)
class Facts:
    """What is compared, by (language, chunk number): digests of the latest materializations, build records, and the
    files that the latest commit's record names."""

    planned: tuple[Planned, ...]
    shards_recorded: Recorded
    commits_recorded: Recorded
    builds: Mapping[Name, BuildRecord]
    hub: Inventory
    committed: Mapping[Name, tuple[ShardFile, ...] | None] = field(default_factory=dict)


@dataclass
class _Findings:
    differences: list[Difference] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    lost: list[Due] = field(default_factory=list)
    recordable: list[Recovered] = field(default_factory=list)
    unproven: list[Planned] = field(default_factory=list)


def compare(facts: Facts) -> Report:
    """Every difference, ordered by kind, language, chunk and path."""
    there = facts.hub.by_chunk()
    planned = {(chunk.language, chunk.number): chunk for chunk in facts.planned}
    found = _Findings()
    for name, files in there.items():
        if name not in planned:
            found.differences += [Difference(Kind.UNKNOWN, None, file.path) for file in files]
    found.differences += _not_planned(facts, planned)
    for chunk in facts.planned:
        files = there.get((chunk.language, chunk.number), [])
        _judge(chunk, facts, {file.path: file for file in files}, found)
    order = list(Kind)
    differences = sorted(found.differences, key=lambda d: (order.index(d.kind), d.chunk or ("", -1), d.detail))
    recorded = found.counts["recorded"]
    return Report(
        revision=facts.hub.revision,
        planned=len(facts.planned),
        recorded=recorded,
        due=len(facts.planned) - recorded,
        nothing=found.counts["nothing"],
        as_built=found.counts["as_built"],
        unchecked=found.counts["unchecked"],
        files=len(facts.hub.files),
        differences=tuple(differences),
        recordable=tuple(found.recordable),
        unproven=tuple(found.unproven),
        lost=tuple(found.lost),
        redo=_redo(found.lost, facts),
    )


def _not_planned(facts: Facts, planned: Iterable[Name]) -> Iterator[Difference]:
    recorded = {**facts.shards_recorded, **facts.commits_recorded}
    for name in lost(planned, recorded):
        yield Difference(Kind.NOT_PLANNED, name, f"digest {recorded[name]}")


def _redo(lost_now: Sequence[Due], facts: Facts) -> tuple[Name, ...]:
    planned = ((chunk.language, chunk.number) for chunk in facts.planned)
    before = {name for name in planned if facts.commits_recorded.get(name) == DUE_AGAIN}
    return tuple(sorted({due.name for due in lost_now} | before))


def _is(recorded: Recorded, chunk: Planned) -> bool:
    return recorded.get((chunk.language, chunk.number)) == chunk.digest


def _judge(chunk: Planned, facts: Facts, there: Mapping[str, RemoteFile], found: _Findings) -> None:
    name = (chunk.language, chunk.number)

    def differs(kind: Kind, detail: str) -> None:
        found.differences.append(Difference(kind, name, detail))

    for asset, recorded in (("parquet_shards", facts.shards_recorded), ("hub_commit", facts.commits_recorded)):
        if is_digest(recorded.get(name)) and recorded[name] != chunk.digest:
            differs(Kind.OTHER_DIGEST, f"{asset}: {recorded[name]} is recorded, {chunk.digest} is planned")
    build = facts.builds.get(name)
    if build is not None and build.digest != chunk.digest:
        differs(Kind.OTHER_BUILD, f"{build.digest} was built, {chunk.digest} is planned")
        build = None
    committed = _is(facts.commits_recorded, chunk)
    found.counts["recorded"] += committed
    expected = facts.committed.get(name) if committed else None
    if expected is None and build is not None:
        expected = build.files
    if expected is None:
        _judge_without_record(chunk, committed, there, found)
        return
    wrong = list(_compare_files(name, expected, there))
    if not wrong:
        found.counts["as_built"] += 1
        missing = [] if committed else ["hub_commit"]
        missing += [] if _is(facts.shards_recorded, chunk) else ["parquet_shards"]
        if missing:
            what = f"{len(expected)} files as built" if expected else "built without a row, so without a file"
            differs(Kind.UNRECORDED, f"{what}; not recorded: {', '.join(missing)}")
            how = "the build record" if build else "the record of its commit"
            found.recordable.append(Recovered(chunk, expected, how, build.stats if build else None))
    elif committed:
        for kind, detail in wrong:
            differs(kind, detail)
        found.lost.append(Due(name, "; ".join(f"{kind.value}: {detail}" for kind, detail in wrong[:3]), expected))
    elif there:  # else it is built, and not committed yet: simply due
        found.unproven.append(chunk)
        kinds = {kind for kind, _ in wrong}
        for kind, detail in wrong:
            if kind is not Kind.ABSENT:
                differs(kind, detail)
            elif kinds == {Kind.ABSENT}:
                differs(Kind.UNVERIFIABLE, f"absent: {detail}")


def _compare_files(
    name: Name, expected: Sequence[ShardFile], there: Mapping[str, RemoteFile]
) -> Iterator[tuple[Kind, str]]:
    mine = {path_in_repo(name[0], file.name): file for file in expected}
    absent = sorted(mine.keys() - there.keys())
    if absent:
        yield Kind.ABSENT, f"{len(absent)} of {len(mine)} files: {', '.join(absent[:5])}"
    for path, file in sorted(mine.items()):
        if path in there and (why := _other(file, there[path])):
            yield Kind.OTHER_CONTENT, f"{path}: {why}"
    for path in sorted(there.keys() - mine.keys()):
        yield Kind.STALE, path


def _judge_without_record(chunk: Planned, committed: bool, there: Mapping[str, RemoteFile], found: _Findings) -> None:
    name = (chunk.language, chunk.number)
    if committed and there and parts_in_order(*name, there) is not None:
        found.counts["unchecked"] += 1
    elif committed:
        listed = f"its parts are not 00 to the last: {', '.join(sorted(there)[:5])}"
        detail = listed if there else "no file, and no record that says it had none"
        found.differences.append(Difference(Kind.ABSENT, name, detail))
        found.lost.append(Due(name, detail))
    elif there:
        found.differences.append(Difference(Kind.UNRECORDED, name, f"{len(there)} files without a build record"))
        found.unproven.append(chunk)
    else:
        found.counts["nothing"] += 1


def _other(built: ShardFile, remote: RemoteFile) -> str | None:
    """In what the Hub's file is not the built one; None when it is."""
    if remote.size != built.size:
        return f"{built.size} bytes were built, {remote.size} are there"
    if not built.sha256:
        return None  # it was not in LFS when it was recorded
    if remote.sha256 is None:
        return "it is not in LFS, so the Hub knows no SHA-256 of it"
    return None if remote.sha256 == built.sha256 else f"{built.sha256} was built, {remote.sha256} is there"
