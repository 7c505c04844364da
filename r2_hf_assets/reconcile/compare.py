"""Compares what is planned, what the history says, what was built and what the Hub holds.

Every planned chunk that is not as the history says, and every file under data/ of no planned chunk, is one Difference
(report.py names what to do about each kind). The files of a committed chunk are compared with those that its commit's
record names, all others with the build record. A chunk that is planned only is due: a count, and no difference.

The history is read before the Hub is listed, so what a concurrent run commits meanwhile is on the Hub by then.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from r2_hf_assets.hub.client import HubClient, RemoteFile
from r2_hf_assets.hub.commit import check_owner
from r2_hf_assets.hub.reads import Inventory, take_inventory
from r2_hf_assets.plan.chunks import ChunkRef, Name
from r2_hf_assets.plan.due import find_lost, is_digest
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.reconcile.report import Difference, Due, Kind, Recovered, Report
from r2_hf_assets.settings import Settings
from r2_hf_assets.shards.builds import open_builds
from r2_hf_assets.shards.names import parts_in_order, path_in_repo
from r2_hf_assets.shards.record import BuildRecord, ShardFile

Log = Callable[[str], None]
Recorded = Mapping[Name, str | None]
Committed = Mapping[Name, tuple[ShardFile, ...] | None]


@dataclass(frozen=True)
class State:
    """What is compared.

    Attributes:
        shards_recorded, commits_recorded: digests of the latest materializations.
        builds: readable build records; a damaged one counts as lost.
        committed: the files that the latest commit's record names.
    """

    planned: tuple[ChunkRef, ...]
    shards_recorded: Recorded
    commits_recorded: Recorded
    builds: Mapping[Name, BuildRecord]
    hub: Inventory
    committed: Committed = field(default_factory=dict)


def collect_state(
    settings: Settings,
    shards_recorded: Recorded,
    commits_recorded: Recorded,
    committed: Committed,
    log: Log | None = None,
) -> State:
    """Add plan, build records and the Hub's head to the history, which was read before.

    Raises:
        ForeignDataset: the dataset belongs to another plan.
    """
    plan = open_plan(settings.plan, settings.r2)
    planned = tuple(plan.planned())
    builds = open_builds(settings.plan, settings.r2).readable_records([chunk.name for chunk in planned])
    repo = HubClient(settings.hub, log)
    hub = take_inventory(repo)
    if hub.revision is not None:
        check_owner(repo, hub.revision, plan.find_id())
    return State(planned, shards_recorded, commits_recorded, builds, hub, committed)


def compare(state: State) -> Report:
    """Find every difference. Pure."""
    report = Report(state.hub.revision, planned=len(state.planned), files=len(state.hub.files))
    on_hub, names = state.hub.by_chunk(), {chunk.name for chunk in state.planned}
    for name, files in on_hub.items():
        if name not in names:
            report.differences += [Difference(Kind.UNKNOWN, None, file.path) for file in files]
    recorded = {**state.shards_recorded, **state.commits_recorded}
    for name in find_lost(names, recorded):
        report.differences.append(Difference(Kind.NOT_PLANNED, name, f"digest {recorded[name]}"))
    for chunk in state.planned:
        _compare_chunk(chunk, state, {file.path: file for file in on_hub.get(chunk.name, [])}, report)
    report.sort()
    return report


def update(report: Report, verified: Iterable[Recovered | Due]) -> None:
    """Add what reading the unproven chunks showed: each is recordable, or unverifiable with the reason."""
    failed = {item.name: item.why for item in verified if isinstance(item, Due)}
    report.recordable += [item for item in verified if isinstance(item, Recovered)]
    report.unproven = []
    report.differences = [
        replace(difference, kind=Kind.UNVERIFIABLE, detail=failed[difference.chunk])
        if difference.kind is Kind.UNRECORDED and difference.chunk in failed
        else difference
        for difference in report.differences
    ]
    report.sort()


def _compare_chunk(chunk: ChunkRef, state: State, on_hub: Mapping[str, RemoteFile], report: Report) -> None:
    name = chunk.name

    def differs(kind: Kind, detail: str) -> None:
        report.differences.append(Difference(kind, name, detail))

    recorded = {"hub_commit": state.commits_recorded.get(name), "parquet_shards": state.shards_recorded.get(name)}
    for asset, digest in recorded.items():
        if is_digest(digest) and digest != chunk.digest:
            differs(Kind.OTHER_DIGEST, f"{asset}: {digest} is recorded, {chunk.digest} is planned")
    build = state.builds.get(name)
    if build is not None and build.digest != chunk.digest:
        build = None
    committed = recorded["hub_commit"] == chunk.digest
    report.recorded += committed
    expected = state.committed.get(name) if committed else None
    if expected is None and build is not None:
        expected = build.files
    wrong = list(_compare_files(name, expected, on_hub))
    if committed and wrong:
        for kind, detail in wrong:
            differs(kind, detail)
        why = "; ".join(f"{kind.value}: {detail}" for kind, detail in wrong[:3])
        report.lost.append(Due(name, why, expected or ()))
    elif committed and expected is None:
        report.unchecked += 1
    elif expected is not None and not wrong:
        report.as_built += 1
        if missing := [asset for asset, digest in recorded.items() if digest != chunk.digest]:
            what = f"{len(expected)} files as built" if expected else "built without a row, so without a file"
            differs(Kind.UNRECORDED, f"{what}; not recorded: {', '.join(missing)}")
            how = "the build record" if build else "the record of its commit"
            report.recordable.append(Recovered(chunk, expected, how, build.stats if build else None))
    elif on_hub:
        differs(Kind.UNRECORDED, f"{len(on_hub)} files, not those of a build record")
        report.unproven.append(chunk)
    else:
        report.nothing += build is None


def _compare_files(
    name: Name, expected: Sequence[ShardFile] | None, on_hub: Mapping[str, RemoteFile]
) -> Iterator[tuple[Kind, str]]:
    """What is wrong with a chunk's files; without a record (None) only whether parts are missing."""
    if expected is None:
        if not on_hub:
            yield Kind.ABSENT, "no file, and no record that says it had none"
        elif parts_in_order(*name, on_hub) is None:
            yield Kind.ABSENT, f"its parts are not 00 to the last: {', '.join(sorted(on_hub)[:5])}"
        return
    by_path = {path_in_repo(name[0], file.name): file for file in expected}
    if absent := sorted(by_path.keys() - on_hub.keys()):
        yield Kind.ABSENT, f"{len(absent)} of {len(by_path)} files: {', '.join(absent[:5])}"
    for path, file in sorted(by_path.items()):
        there = on_hub.get(path)
        if there is not None and (there.size, there.sha256 or "") != (file.size, file.sha256):
            built = f"{file.size} bytes, SHA-256 {file.sha256} were built"
            yield Kind.OTHER_CONTENT, f"{path}: {built}, {there.size} bytes, SHA-256 {there.sha256} are there"
    for path in sorted(on_hub.keys() - by_path.keys()):
        yield Kind.STALE, path
