"""Jobs, started by sensors, schedules and the Jobs page: scan, build and commit of a partition, check of the dataset.

They select the assets of the asset graph, so history, checks and retries do not depend on how a run was started. Runs
of a partition can be filtered by Dagster's tag dagster/partition/language. `remove_job` and `refresh_job` append to the
plan what `r2-hf remove` and `r2-hf refresh` do; the chunks that are due then are built as always.
"""

from datetime import UTC, datetime

import dagster as dg
from pydantic import Field

from r2_hf_assets.amend.refresh import Selection, refresh
from r2_hf_assets.amend.remove import remove
from r2_hf_assets.asset_keys import COMMIT, SHARDS, WORK_PLAN
from r2_hf_assets.assets.external import whole_dataset
from r2_hf_assets.errors import SettingsError
from r2_hf_assets.partitions import partition_key
from r2_hf_assets.plural import plural
from r2_hf_assets.resources import SettingsResource
from r2_hf_assets.runs.heartbeat import RunHeartbeat
from r2_hf_assets.runs.outcome import report_user_errors

KIND_TAG = "r2_hf_assets/kind"
SCAN_JOB = "scan_job"

scan_job = dg.define_asset_job(
    SCAN_JOB,
    dg.AssetSelection.assets(WORK_PLAN),
    description="Plans new episodes: work_plan and its check.",
    tags={KIND_TAG: "scan"},  # dagster.yaml limits it to one run at a time
)

build_job = dg.define_asset_job(
    "build_job",
    dg.AssetSelection.assets(SHARDS, COMMIT),
    description="Builds one planned partition and commits it: parquet_shards, then hub_commit.",
)

check_job = dg.define_asset_job(
    "check_job",
    dg.AssetSelection.checks(whole_dataset),
    description="Compares plan, history and Hub: the check whole_dataset. Changes nothing.",
)


class RemoveConfig(dg.Config):
    """What to remove, and why."""

    targets: list[str] = Field(description="Episodes (en/0a1b), episode:SPEAKER, or audio keys.")
    reason: str = Field(description="For the record beside the plan; it is not published.")
    dry_run: bool = Field(default=False, description="Say what would be removed; change nothing.")


@dg.op(name="remove", description="Takes episodes, segments or speakers out of the dataset, for good.")
def remove_op(
    context: dg.OpExecutionContext, config: RemoveConfig, settings: SettingsResource, run_heartbeat: RunHeartbeat
) -> None:
    with report_user_errors(context):
        result = remove(settings.load(), config.targets, config.reason, dry_run=config.dry_run, log=context.log.warning)
    chunks = ", ".join(partition_key(*name) for name in result.chunks) or "none"
    done = "would be removed" if config.dry_run else "removed"
    context.log.info(
        f"{plural(len(result.matches), 'target')} {done}, {result.already} before; chunks due again: {chunks}"
    )


class RefreshConfig(dg.Config):
    """What to ask for."""

    languages: list[str] = Field(default=[], description="Only these, e.g. [en, de]; empty: all.")
    episodes: list[str] = Field(default=[], description="Only these, e.g. [en/0a1b]; empty: all.")
    since: str | None = Field(default=None, description="Only changes since this date, e.g. 2026-11-01, in UTC.")
    rejected: bool = Field(default=False, description="Ask only for what was missing or empty when it was built.")
    dry_run: bool = Field(default=False, description="Say what changed; change nothing.")


@dg.op(name="refresh", description="Finds what changed in the bucket since it was built; its chunks are due again.")
def refresh_op(
    context: dg.OpExecutionContext, config: RefreshConfig, settings: SettingsResource, run_heartbeat: RunHeartbeat
) -> None:
    with report_user_errors(context):
        since = _date(config.since) if config.since else None
        selection = Selection(config.languages, config.episodes, since, config.rejected)
        report = refresh(settings.load(), selection, dry_run=config.dry_run, log=context.log.info)
    chunks = ", ".join(partition_key(*name) for name in report.chunks) or "none"
    context.log.info(
        f"asked for {plural(report.asked, 'object')}: {len(report.changes)} changed, {report.gone} gone; "
        f"chunks due again: {chunks}"
    )


def _date(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        raise SettingsError(f"since: {text!r} is no date such as 2026-11-01") from None


@dg.job(description="Removes episodes, segments or speakers: an amendment of the plan.")
def remove_job() -> None:
    remove_op()


@dg.job(description="Finds what changed in the bucket: an amendment of the plan.")
def refresh_job() -> None:
    refresh_op()
