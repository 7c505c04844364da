"""Plan, history and Hub compared, for `r2-hf reconcile`, the check `whole_dataset` and a scan that starts anew.

Losing Dagster's database must not lose the work: on request every chunk that the Hub verifiably holds whole is recorded
as materialized for its digest, so that it is due no more. A chunk that is recorded and not on the Hub as it was
committed is recorded as due again, so that every reader of the history finds it: `r2-hf process`, the sensor, status
and the grid. When the whole repo is gone, that is done on request only: a wrong HF_REPO_ID or a token without access
looks the same.
"""

from typing import Any

from dagster import DagsterInstance

from r2_hf_assets.asset_keys import COMMIT, SHARDS
from r2_hf_assets.partitions import partition_key
from r2_hf_assets.reconcile.compare import Log, collect_state, compare, update
from r2_hf_assets.reconcile.report import Difference, Due, Recovered, Report
from r2_hf_assets.reconcile.verify import verify_remote
from r2_hf_assets.runs.history import committed_files, recorded_digests
from r2_hf_assets.runs.recovered import record, record_due
from r2_hf_assets.settings import Settings


def examine(
    instance: DagsterInstance,
    settings: Settings,
    *,
    mark_lost: bool = False,
    record_found: bool = False,
    log: Log | None = None,
) -> Report:
    """Compare, and bring the history up to date as far as the arguments say.

    Args:
        mark_lost: record as due what the Hub lost. When there is no repo at all, only with `record_found`.
        record_found: record what is verifiably on the Hub, reading there what has no build record. The report then
            says in `recordable` what was recorded.

    Raises:
        ForeignDataset: the dataset belongs to another plan.
        PlanError, AccessError, RetriesExhausted: something can't be read.
    """
    dataset, emit = settings.hub.repo_id, instance.report_runless_asset_event
    shards, commits = recorded_digests(instance, SHARDS), recorded_digests(instance, COMMIT, dataset)
    state = collect_state(settings, shards, commits, committed_files(instance), log)
    report = compare(state)
    if mark_lost and (report.revision is not None or record_found):
        record_due(instance, report.lost, dataset, "reconcile")
    if not record_found:
        return report
    record(instance, report.recordable, report.revision, dataset, "reconcile", emit)
    verified: list[Recovered | Due] = []
    for result in verify_remote(settings, report.unproven, state.hub, log):
        if isinstance(result, Recovered):  # at once: reading many takes long, and may be stopped
            record(instance, [result], report.revision, dataset, "reconcile", emit)
        verified.append(result)
    # Of the others, the next commits may replace the files whose rows are of the chunk.
    record_due(instance, [due for due in verified if isinstance(due, Due) and due.files], dataset, "reconcile")
    update(report, verified)
    return report


def line(difference: Difference) -> str:
    """One difference as a line: kind, partition, what."""
    where = f"{partition_key(*difference.chunk)}: " if difference.chunk else ""
    return f"{difference.kind.value}: {where}{difference.detail}"


def summary(report: Report) -> str:
    """The numbers of a report in one line."""
    found = ", ".join(f"{count} {kind}" for kind, count in report.counts.items()) or "no difference"
    return (
        f"{report.planned} chunks planned: {report.recorded} recorded, {report.due} due ({report.nothing} of them "
        f"nowhere yet); {report.files} files on the Hub, {report.as_built} chunks as built; {found}"
    )


def as_plain(report: Report, recorded: int) -> dict[str, Any]:
    """A report for JSON."""
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
