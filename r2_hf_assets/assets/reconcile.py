"""`reconcile_job`: plan, history and Hub compared; what the Hub lost is recorded as due, and on request what is
verifiably there as done.

Losing Dagster's database must not lose the work: with `record: true` every chunk that the Hub is shown to hold whole
is recorded as materialized for its digest, so that it is due no more. The events say that reconcile made them, from
which revision, and by what the chunk was verified. A chunk that is recorded and not on the Hub as it was committed is
recorded as due again, so that whoever asks what is due finds it: `r2-hf process`, the sensor, status and the grid. When
the whole repo is gone that takes `record: true`: a wrong HF_REPO_ID or a token that may not see it looks the same.

The command line does the same through `examine`; its events belong to no run.
"""

from typing import Any

from dagster import (
    Config,
    DagsterInstance,
    MetadataValue,
    OpExecutionContext,
    job,
    op,
)
from pydantic import Field

from r2_hf_assets.asset_keys import COMMIT, SHARDS
from r2_hf_assets.assets.history import committed_files, recorded_digests
from r2_hf_assets.assets.partitions import partition_key
from r2_hf_assets.assets.recovered import Emit, record, record_due
from r2_hf_assets.assets.resources import SettingsResource
from r2_hf_assets.assets.runs import user_errors
from r2_hf_assets.assets.signs_of_life import SignsOfLife
from r2_hf_assets.reconcile.compare import Log, collect_state, compare, update
from r2_hf_assets.reconcile.report import ADVICE, Difference, Due, Kind, Recovered, Report
from r2_hf_assets.reconcile.verify import verify_remote
from r2_hf_assets.settings import Settings

# Lines of a run's log, and rows of the table that the UI shows; counts are of all.
_LINES = 300


class ReconcileConfig(Config):
    """What to do besides reporting."""

    record: bool = Field(
        default=False, description="Record as materialized what is verifiably on the Hub and not recorded."
    )
    dry_run: bool = Field(default=False, description="Record nothing: not even as due what the Hub lost.")


def examine(
    instance: DagsterInstance,
    settings: Settings,
    *,
    mark_lost: bool = False,
    emit: Emit | None = None,
    log: Log | None = None,
) -> Report:
    """Compare; with `emit` also record what is verifiably there, reading on the Hub what has no build record.

    Args:
        mark_lost: record as due what the Hub lost. When there is no repo at all, only with `emit`.
        emit: as for `record`. The report then says in `recordable` what was recorded.

    Raises:
        ForeignDataset: the dataset belongs to another plan.
        PlanError, AccessError, GaveUp: something can't be read.
    """
    dataset = settings.hub.repo_id
    shards, commits = recorded_digests(instance, SHARDS), recorded_digests(instance, COMMIT, dataset)
    state = collect_state(settings, shards, commits, committed_files(instance), log)
    report = compare(state)
    if mark_lost and (report.revision is not None or emit is not None):
        record_due(instance, report.lost, dataset, "reconcile")
    if emit is None:
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


@op(description="Compares plan, history and Hub; see reconcile_job.")
def reconcile(
    context: OpExecutionContext, config: ReconcileConfig, settings: SettingsResource, signs_of_life: SignsOfLife
) -> None:
    with user_errors(context):
        loaded = settings.load()
        emit = context.log_event if config.record and not config.dry_run else None
        report = examine(context.instance, loaded, mark_lost=not config.dry_run, emit=emit, log=context.log.info)
    recorded = len(report.recordable) if emit else 0
    context.log.info(f"{summary(report)}; {recorded} recorded now")
    for difference in report.differences[:_LINES]:
        context.log.warning(line(difference))
    context.add_output_metadata(_metadata(report, recorded))


@job(
    description="Compares plan, history and the Hub's head, and reports every difference. What the Hub lost it records "
    "as due. With `record: true` it records what is verifiably on the Hub: so a lost database is made good. Changes "
    "nothing on the Hub."
)
def reconcile_job() -> None:
    reconcile()


def _metadata(report: Report, recorded: int) -> dict[str, Any]:
    rows = [
        f"| {d.kind.value} | {_cell(str(partition_key(*d.chunk)) if d.chunk else '')} | {_cell(d.detail)} |"
        for d in report.differences[:_LINES]
    ]
    table = "\n".join(["| kind | partition | what |", "|---|---|---|", *rows]) if rows else "none"
    advice = "\n".join(f"- `{kind}` ({count}): {ADVICE[Kind(kind)]}" for kind, count in report.counts.items())
    return {
        **report.numbers,
        **report.counts,
        "recorded_now": recorded,
        "recordable": len(report.recordable),
        "revision": report.revision or "none",
        "differences": MetadataValue.md(table),
        "what_to_do": MetadataValue.md(advice or "nothing"),
    }


def _cell(text: str) -> str:
    """Text in a cell of a Markdown table."""
    return text.replace("|", "\\|")
