"""Compare plan, history and Hub, for `r2-hf reconcile`, the check `whole_dataset` and `scan --start-anew`.

After a loss of Dagster's database, chunks that the Hub verifiably holds are recorded as materialized on request. A
recorded chunk whose files differ or are missing on the Hub is recorded as due again, for all readers of the history.
If the whole repo is missing, that is done on request only: a wrong HF_REPO_ID or a token without access looks the same.
"""

from typing import Any

import dagster as dg

from r2_hf_assets.asset_keys import COMMIT, SHARDS
from r2_hf_assets.hub.reads import Inventory
from r2_hf_assets.partitions import partition_key, remember_languages
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.plural import plural
from r2_hf_assets.reconcile.compare import Log, collect_state, compare, update
from r2_hf_assets.reconcile.report import Difference, Due, Recovered, Report
from r2_hf_assets.reconcile.verify import verify_remote
from r2_hf_assets.reconcile.write_index import write_indexes
from r2_hf_assets.runs.claim import claim_of
from r2_hf_assets.runs.history import committed_files, recorded_digests
from r2_hf_assets.runs.runless_events import record_done, record_due
from r2_hf_assets.settings import Settings
from r2_hf_assets.shards.builds import open_builds


def examine(
    instance: dg.DagsterInstance,
    settings: Settings,
    *,
    mark_lost: bool = False,
    record_found: bool = False,
    write_index: bool = False,
    log: Log | None = None,
) -> Report:
    """Compare, and update the history as requested.

    Args:
        mark_lost: record as due the chunks that the Hub lost. Without a repo, only together with `record_found`.
        record_found: record the chunks that are verifiably on the Hub; those without a build record are read there.
            The report's `recordable` then lists what was recorded.
        write_index: write the indexes of recorded chunks that have none; the report's `unindexed` are then the others.

    Raises:
        ForeignDataset: the dataset belongs to another plan.
        PlanError, AccessError, RetriesExhausted: plan or Hub can't be read.
    """
    dataset = settings.hub.repo_id
    shards, commits = recorded_digests(instance, SHARDS), recorded_digests(instance, COMMIT, dataset)
    state = collect_state(settings, shards, commits, committed_files(instance), log)
    remember_languages(state.planned)  # DAGSTER_HOME may be new
    report = compare(state)
    if mark_lost and (report.revision is not None or record_found):
        record_due(instance, report.lost, dataset, "reconcile")
    if record_found:
        _record_found(instance, settings, report, state.hub, log)
    if write_index and report.unindexed:
        claim = claim_of(instance, open_plan(settings.plan, settings.r2), open_builds(settings.plan, settings.r2))
        for written in write_indexes(settings, report.unindexed, state.hub, claim, log or (lambda line: None)):
            record_done(instance, written, report.revision, dataset, "reconcile")
            names = {item.chunk.name for item in written}
            report.unindexed = [chunk for chunk in report.unindexed if chunk.name not in names]
    return report


def _record_found(
    instance: dg.DagsterInstance, settings: Settings, report: Report, hub: Inventory, log: Log | None
) -> None:
    """Record what is verified to be on the Hub, and as due what is not."""
    dataset = settings.hub.repo_id
    record_done(instance, report.recordable, report.revision, dataset, "reconcile")
    verified: list[Recovered | Due] = []
    for result in verify_remote(settings, report.unproven, hub, log):
        if isinstance(result, Recovered):  # recorded one by one: reading many takes long and may be interrupted
            record_done(instance, [result], report.revision, dataset, "reconcile")
        verified.append(result)
    # The next commits may replace the files that contain rows of these chunks.
    record_due(instance, [due for due in verified if isinstance(due, Due) and due.files], dataset, "reconcile")
    update(report, verified)


def line(difference: Difference) -> str:
    """Return a difference as one line: kind, partition, detail."""
    where = f"{partition_key(*difference.chunk)}: " if difference.chunk else ""
    return f"{difference.kind.value}: {where}{difference.detail}"


def summary(report: Report) -> str:
    """Return the counts of a report in one line."""
    counts = ", ".join(f"{count} {kind}" for kind, count in report.counts.items()) or "no difference"
    if report.unindexed:
        counts += f"; {plural(len(report.unindexed), 'chunk')} without an index"
    return (
        f"{plural(report.planned, 'chunk')} planned: {report.recorded} recorded, {report.due} due ({report.nothing} of "
        f"them nowhere yet); {plural(report.files, 'file')} on the Hub, {plural(report.as_built, 'chunk')} as built; "
        f"{counts}"
    )


def as_plain(report: Report, recorded: int) -> dict[str, Any]:
    """Return a report as JSON values."""
    return {
        "revision": report.revision,
        **report.numbers,
        "recorded_now": recorded,
        "recordable": [str(partition_key(*item.chunk.name)) for item in report.recordable],
        "counts": report.counts,
        "differences": [
            {
                "kind": difference.kind.value,
                "partition": str(partition_key(*difference.chunk)) if difference.chunk else None,
                "detail": difference.detail,
            }
            for difference in report.differences
        ],
    }
