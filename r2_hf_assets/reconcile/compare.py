"""Compares what is planned, what the history says, what was built and what the Hub holds. Pure: data in, data out.

Every planned chunk that is not as the history says, and every file under data/ that no planned chunk accounts for, is
one Difference (report.py says of each kind what to do). A chunk that is planned and stands nowhere else is simply due:
a count, and no difference. What is there as it was built and only not recorded is `recordable`; what is there without a
record of its build is `unproven`: prove.py can tell by reading it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from r2_hf_assets.hub.client import RemoteFile
from r2_hf_assets.hub.inventory import Inventory, parts_in_order
from r2_hf_assets.plan.chunks import Planned
from r2_hf_assets.plan.due import UNPLANNED, lost
from r2_hf_assets.reconcile.report import Difference, Kind, Name, Recovered, Report
from r2_hf_assets.shards.names import path_in_repo
from r2_hf_assets.shards.record import BuildRecord, ShardFile

Recorded = Mapping[Name, str | None]

# Kinds that a recorded chunk is mended of by processing it again.
_REDO = frozenset({Kind.ABSENT, Kind.OTHER_CONTENT, Kind.STALE})


@dataclass(frozen=True)
class Facts:
    """What is compared. Digests of the latest materializations and build records are by (language, chunk number)."""

    planned: tuple[Planned, ...]
    shards_recorded: Recorded
    commits_recorded: Recorded
    builds: Mapping[Name, BuildRecord]
    hub: Inventory


@dataclass
class _Findings:
    differences: list[Difference] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    recordable: list[Recovered] = field(default_factory=list)
    unproven: list[Planned] = field(default_factory=list)


def compare(facts: Facts) -> Report:
    """Every difference, ordered by kind, language, chunk and path."""
    there = facts.hub.by_chunk()
    planned = {(chunk.language, chunk.number) for chunk in facts.planned}
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
        redo=_redo(differences, facts),
    )


def _not_planned(facts: Facts, planned: set[Name]) -> Iterator[Difference]:
    recorded = {**facts.shards_recorded, **facts.commits_recorded}
    for name in lost(planned, recorded):
        yield Difference(Kind.NOT_PLANNED, name, f"digest {recorded[name]}")


def _redo(differences: list[Difference], facts: Facts) -> tuple[Name, ...]:
    done = {(c.language, c.number) for c in facts.planned if _is(facts.commits_recorded, c)}
    return tuple(sorted({d.chunk for d in differences if d.kind in _REDO and d.chunk in done and d.chunk}))


def _is(recorded: Recorded, chunk: Planned) -> bool:
    return recorded.get((chunk.language, chunk.number)) == chunk.digest


def _judge(chunk: Planned, facts: Facts, there: Mapping[str, RemoteFile], found: _Findings) -> None:
    name = (chunk.language, chunk.number)

    def differs(kind: Kind, detail: str) -> None:
        found.differences.append(Difference(kind, name, detail))

    for asset, recorded in (("parquet_shards", facts.shards_recorded), ("hub_commit", facts.commits_recorded)):
        if name in recorded and recorded[name] not in (chunk.digest, UNPLANNED):
            differs(Kind.OTHER_DIGEST, f"{asset}: {recorded[name]} is recorded, {chunk.digest} is planned")
    build = facts.builds.get(name)
    if build is not None and build.digest != chunk.digest:
        differs(Kind.OTHER_BUILD, f"{build.digest} was built, {chunk.digest} is planned")
        build = None
    committed = _is(facts.commits_recorded, chunk)
    found.counts["recorded"] += committed
    if build is None:
        _judge_without_build(chunk, committed, there, found)
        return
    mine = {path_in_repo(build.language, file.name): file for file in build.files}
    absent = sorted(mine.keys() - there.keys())
    stale = sorted(there.keys() - mine.keys())
    other = {path: _other(file, there[path]) for path, file in sorted(mine.items()) if path in there}
    wrong = {path: why for path, why in other.items() if why}
    if not (absent or stale or wrong):
        found.counts["as_built"] += 1
        missing = [] if committed else ["hub_commit"]
        missing += [] if _is(facts.shards_recorded, chunk) else ["parquet_shards"]
        if missing:
            what = f"{len(mine)} files as built" if mine else "built without a row, so without a file"
            differs(Kind.UNRECORDED, f"{what}; not recorded: {', '.join(missing)}")
            found.recordable.append(Recovered(chunk, build.files, "the build record", build.stats))
        return
    if not there and not committed:
        return  # built, and not committed yet: simply due
    for path in stale:
        differs(Kind.STALE, path)
    for path, why in wrong.items():
        differs(Kind.OTHER_CONTENT, f"{path}: {why}")
    if absent and committed:
        differs(Kind.ABSENT, f"{len(absent)} of {len(mine)} files: {', '.join(absent[:5])}")
    elif absent and not wrong and not stale:
        differs(Kind.UNVERIFIABLE, f"{len(absent)} of {len(mine)} files are absent: {', '.join(absent[:5])}")


def _judge_without_build(chunk: Planned, committed: bool, there: Mapping[str, RemoteFile], found: _Findings) -> None:
    name = (chunk.language, chunk.number)
    if not committed and not there:
        found.counts["nothing"] += 1
    elif not committed:
        detail = f"{len(there)} files without a build record"
        found.differences.append(Difference(Kind.UNRECORDED, name, detail))
        found.unproven.append(chunk)
    elif not there:
        found.differences.append(Difference(Kind.ABSENT, name, "no file, and no build record that says it had none"))
    elif parts_in_order(*name, there) is None:
        detail = f"its parts are not 00 to the last: {', '.join(sorted(there)[:5])}"
        found.differences.append(Difference(Kind.ABSENT, name, detail))
    else:
        found.counts["unchecked"] += 1


def _other(built: ShardFile, remote: RemoteFile) -> str | None:
    """In what the Hub's file is not the built one; None when it is."""
    if remote.size != built.size:
        return f"{built.size} bytes were built, {remote.size} are there"
    if remote.sha256 is None:
        return "it is not in LFS, so the Hub knows no SHA-256 of it"
    return None if remote.sha256 == built.sha256 else f"{built.sha256} was built, {remote.sha256} is there"
