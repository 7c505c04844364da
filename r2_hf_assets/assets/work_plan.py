"""`work_plan`: scans the bucket, appends new episodes to the plan, and adds the chunks as partitions."""

from datetime import timedelta

import dagster as dg
from pydantic import Field

from r2_hf_assets.asset_keys import COMMIT
from r2_hf_assets.bucket.pages import check_access
from r2_hf_assets.bucket.transfers import Bucket
from r2_hf_assets.errors import PlanError, SettingsError
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.ownership import refuse_dataset_without_plan, start_over
from r2_hf_assets.languages import UNKNOWN, normalize
from r2_hf_assets.partitions import add_partitions, describe_grid, partition_key, remember_languages
from r2_hf_assets.plan.due import in_grid
from r2_hf_assets.plan.scan import ScanReport, ScanRules, scan
from r2_hf_assets.plan.store import PlanStore, open_plan
from r2_hf_assets.plural import plural
from r2_hf_assets.resources import SettingsResource
from r2_hf_assets.runs.claim import claim_of
from r2_hf_assets.runs.heartbeat import RunHeartbeat
from r2_hf_assets.runs.history import committed_files, recorded_digests, unplanned_chunks
from r2_hf_assets.runs.metadata import PLAN_VERSION, scan_metadata
from r2_hf_assets.runs.outcome import report_user_errors
from r2_hf_assets.runs.reconcile import examine
from r2_hf_assets.runs.runless_events import record_unplanned
from r2_hf_assets.settings import ScanSettings, Settings
from r2_hf_assets.shards.builds import open_builds


class ScanConfig(dg.Config):
    """Options of a scan."""

    languages: list[str] = Field(
        default=[], description="Plan only these, e.g. [en, de]; empty: all that LANGUAGES allows."
    )
    automatic: bool = Field(
        default=False,
        description="Hold back a remainder smaller than a chunk until it fills or has waited PLAN_MAX_WAIT_HOURS.",
    )
    start_anew: bool = Field(
        default=False,
        description="Scan even if the plan lacks chunks that were built or that the dataset holds: one commit removes "
        "their files from the dataset (its history keeps them); their episodes are planned and built again.",
    )


@dg.asset(deps=[dg.AssetKey("episodes")], group_name="speech_dataset", kinds={"s3", "json"})
def work_plan(
    context: dg.AssetExecutionContext, config: ScanConfig, settings: SettingsResource, run_heartbeat: RunHeartbeat
) -> dg.MaterializeResult:
    """The chunk of each episode: append-only, one immutable manifest per chunk.

    Lists the episode folders of the bucket, not all objects, and puts new episodes into new chunks of
    EPISODES_PER_CHUNK. Each chunk is a partition of parquet_shards and hub_commit, `en|chunk_0007`.
    """
    instance = context.instance
    with report_user_errors(context):
        loaded = settings.load_for_scan()
        bucket = Bucket(loaded.r2)
        check_access(bucket, loaded.r2.prefix)
        plan = open_plan(loaded.plan, loaded.r2)
        if config.start_anew:
            _start_over(context, plan, loaded)
        else:
            _check_plan_is_complete(context, plan, loaded)
        report = scan(bucket, plan, _rules(config, loaded))
        _warn(context, report)
        if config.start_anew:
            record_unplanned(instance, unplanned_chunks(instance, plan))
    # After the manifests: if a scan dies in between, the next one adds the partitions.
    add_partitions(instance, (chunk.number for chunk in report.planned))
    remember_languages(report.planned)
    grid = describe_grid(in_grid(report.planned, loaded.plan.languages))
    context.log.info(f"the grid in the UI: {grid}")
    metadata = {**scan_metadata(report), "grid": grid, "dagster/uri": loaded.plan.state_url}
    return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(PLAN_VERSION))


def _check_plan_is_complete(context: dg.AssetExecutionContext, plan: PlanStore, settings: ScanSettings) -> None:
    """Raise PlanError if chunks that were built, or files of the dataset, are in no manifest."""
    lost = [str(partition_key(*name)) for name in unplanned_chunks(context.instance, plan)]
    if lost:
        raise PlanError(
            f"plan: {plural(len(lost), 'chunk was', 'chunks were')} built that {settings.plan.state_url} (STATE_URL) "
            f"does not hold ({', '.join(lost[:3])}); restore it, or import the script's plan with `r2-hf import`, or "
            "start over with `r2-hf scan --start-anew` (start_anew: true)"
        )
    plan_id, empty = plan.find_id(), not plan.numbers()
    if settings.hub is not None and (empty or plan_id is None):  # no id: an interrupted restore, or a plan of 0.1.0
        repo = HubClient(settings.hub, context.log.warning)
        repo.call_with_retry("read", lambda: refuse_dataset_without_plan(repo, plan_id, empty=empty))


def _start_over(context: dg.AssetExecutionContext, plan: PlanStore, settings: ScanSettings) -> None:
    """Remove the files of other plans from the dataset, and record the chunks that it lost as due."""
    if settings.hub is None:
        raise SettingsError("start_anew: set HF_REPO_ID and HF_TOKEN: the dataset's files of other plans are removed")
    instance, warn = context.instance, context.log.warning
    plan.check_identity()
    planned = {chunk.name: chunk.digest for chunk in plan.planned()}
    # Commits to any dataset count: this one may have been renamed.
    recorded, files = recorded_digests(instance, COMMIT), committed_files(instance)
    committed = {
        name: {file.sha256 for file in files.get(name) or () if recorded.get(name) == digest}
        for name, digest in planned.items()
    }
    repo, claim = HubClient(settings.hub, warn), claim_of(instance, plan, open_builds(settings.plan, settings.r2))
    removed, revision = repo.call_with_retry("start over in", lambda: start_over(repo, claim, committed))
    if removed:
        what = plural(removed, "file")
        warn(f"removed {what} of an earlier plan from {repo.repo_id}; they are still in revision {revision}")
    # Another plan may have removed or replaced committed files.
    complete = Settings(settings.plan, settings.shards, settings.r2, settings.hub)
    if lost := examine(instance, complete, mark_lost=True, log=warn).lost:
        chunks = plural(len(lost), "committed chunk is", "committed chunks are")
        warn(f"{chunks} missing in {repo.repo_id}, and due again")


def _rules(config: ScanConfig, settings: ScanSettings) -> ScanRules:
    grid = frozenset(settings.plan.languages)
    requested = {tag: normalize(tag) for tag in config.languages}
    if unknown := [tag for tag, name in requested.items() if name == UNKNOWN != tag]:
        raise SettingsError(f"languages: {', '.join(unknown)}: no known language; nothing was planned")
    if left_out := sorted(set(requested.values()) - grid):
        raise SettingsError(f"LANGUAGES leaves out {', '.join(left_out)}: add it there; nothing was planned")
    return ScanRules(
        languages=frozenset(requested.values()) or grid,
        episodes_per_chunk=settings.plan.episodes_per_chunk,
        hold_back=timedelta(hours=settings.plan.max_wait_hours) if config.automatic else None,
    )


def _warn(context: dg.AssetExecutionContext, report: ScanReport) -> None:
    decided = [f"{name} ({language}, rule {rule})" for name, (language, rule) in report.changed_rules.items()]
    for problem, folders in (
        ("without a known language, planned as unknown", report.unknown_folders),
        ("with another language by this release's rule, left as recorded", decided),
        ("with an unreadable name, not planned", [ascii(name) for name in report.unreadable_folders]),
    ):
        if folders:
            context.log.warning(f"{plural(len(folders), 'folder')} {problem}: {', '.join(folders[:20])}")
