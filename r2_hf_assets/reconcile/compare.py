"""Compare plan, history, build records and Hub.

Every planned chunk whose files contradict the history, and every file under data/ of no planned chunk, is a Difference
(report.py has the advice for each kind). The files of a committed chunk are compared with its commit's record, all
others with the build record. A chunk that is only planned is due: it is counted, and is no difference.

The history is read before the Hub is listed, so all commits in the history are on the Hub by then.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from r2_hf_assets.hub.client import HubClient, RemoteFile
from r2_hf_assets.hub.ownership import refuse_other_plan
from r2_hf_assets.hub.reads import Inventory, take_inventory
from r2_hf_assets.plan.chunks import ChunkRef, Name
from r2_hf_assets.plan.due import find_unplanned, is_digest
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.plural import plural
from r2_hf_assets.reconcile.report import Difference, Due, Kind, Recovered, Report
from r2_hf_assets.settings import Settings
from r2_hf_assets.shards.builds import open_builds
from r2_hf_assets.shards.names import is_index, parts_in_order
from r2_hf_assets.shards.record import BuildRecord, ShardFile

Log = Callable[[str], None]
Digests = Mapping[Name, str | None]
Committed = Mapping[Name, tuple[ShardFile, ...] | None]


@dataclass(frozen=True)
class State:
    """The data to compare.

    Attributes:
        shards_recorded, commits_recorded: digests of the latest materializations.
        builds: readable build records; a damaged one counts as lost.
        committed: the files in the record of the latest commit.
    """

    planned: tuple[ChunkRef, ...]
    shards_recorded: Digests
    commits_recorded: Digests
    builds: Mapping[Name, BuildRecord]
    hub: Inventory
    committed: Committed = field(default_factory=dict)


def collect_state(
    settings: Settings, shards_recorded: Digests, commits_recorded: Digests, committed: Committed, log: Log | None
) -> State:
    """Read plan, build records and the Hub's head. Raises ForeignDataset if the dataset belongs to another plan."""
    plan = open_plan(settings.plan, settings.r2)
    planned = tuple(plan.planned())
    builds = open_builds(settings.plan, settings.r2).readable_records([chunk.name for chunk in planned])
    repo = HubClient(settings.hub, log)
    hub = take_inventory(repo)
    if (revision := hub.revision) is not None:
        plan_id = plan.find_id()
        repo.call_with_retry("read", lambda: refuse_other_plan(repo, revision, plan_id))
    return State(planned, shards_recorded, commits_recorded, builds, hub, committed)


def compare(state: State) -> Report:
    """Return all differences. Pure."""
    report = Report(state.hub.revision, planned=len(state.planned), files=len(state.hub.files), hub=state.hub)
    on_hub, names = state.hub.by_chunk(), {chunk.name for chunk in state.planned}
    for name, files in on_hub.items():
        if name not in names:
            report.differences += [Difference(Kind.UNKNOWN, None, file.path) for file in files]
    recorded = {**state.shards_recorded, **state.commits_recorded}
    for name in find_unplanned(names, recorded):
        report.differences.append(Difference(Kind.NOT_PLANNED, name, f"digest {recorded[name]}"))
    for chunk in state.planned:
        _compare_chunk(chunk, state, {file.path: file for file in on_hub.get(chunk.name, [])}, report)
    report.sort()
    return report


def update(report: Report, verified: Iterable[Recovered | Due]) -> None:
    """Add the results of reading the unproven chunks: each is recordable, or unverifiable with the reason."""
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

    def add(kind: Kind, detail: str) -> None:
        report.differences.append(Difference(kind, name, detail))

    recorded = {"hub_commit": state.commits_recorded.get(name), "parquet_shards": state.shards_recorded.get(name)}
    for asset, digest in recorded.items():
        if is_digest(digest) and digest != chunk.digest:
            add(Kind.OTHER_DIGEST, f"{asset}: {digest} is recorded, {chunk.digest} is planned")
    build = record if (record := state.builds.get(name)) and record.digest == chunk.digest else None
    committed = recorded["hub_commit"] == chunk.digest
    report.recorded += committed
    expected = state.committed.get(name) if committed else None
    if expected is None and build is not None:
        expected = build.all_files
    problems = list(_compare_files(name, expected, on_hub))
    if committed and not problems and not any(map(is_index, on_hub)):
        report.unindexed.append(chunk)
    if committed and problems:
        report.differences += [Difference(kind, name, detail) for kind, detail in problems]
        why = "; ".join(f"{kind.value}: {detail}" for kind, detail in problems[:3])
        report.lost.append(Due(name, why, expected or ()))
    elif committed and expected is None:
        report.unchecked += 1
    elif expected is not None and not problems:
        report.as_built += 1
        if missing := [asset for asset, digest in recorded.items() if digest != chunk.digest]:
            add(Kind.UNRECORDED, f"{plural(len(expected), 'file')} as built; not recorded: {', '.join(missing)}")
            how = "the build record" if build else "the record of its commit"
            report.recordable.append(Recovered(chunk, expected, how, build.stats if build else None))
    elif on_hub:
        add(Kind.UNRECORDED, f"{plural(len(on_hub), 'file')}, not those of a build record")
        report.unproven.append(chunk)
    else:
        report.nothing += build is None


def _compare_files(
    name: Name, expected: Sequence[ShardFile] | None, on_hub: Mapping[str, RemoteFile]
) -> Iterator[tuple[Kind, str]]:
    """Yield the differences of a chunk's files; without a record (None) only missing parts."""
    if expected is None:
        if not on_hub:
            yield Kind.ABSENT, "no file, and no record of a chunk without files"
        elif parts_in_order(*name, on_hub) is None:
            yield Kind.ABSENT, f"its parts are not 00 to the last: {', '.join(sorted(on_hub)[:5])}"
        return
    by_path = {file.path: file for file in expected}
    if absent := sorted(by_path.keys() - on_hub.keys()):
        yield Kind.ABSENT, f"{len(absent)} of {plural(len(by_path), 'file')}: {', '.join(absent[:5])}"
    for path, file in sorted(by_path.items()):
        remote = on_hub.get(path)
        if remote is not None and (remote.size, remote.sha256 or "") != (file.size, file.sha256):
            built = f"{file.size} bytes, SHA-256 {file.sha256} were built"
            yield Kind.OTHER_CONTENT, f"{path}: {built}, {remote.size} bytes, SHA-256 {remote.sha256} are on the Hub"
    for path in sorted(on_hub.keys() - by_path.keys()):
        yield Kind.STALE, path
