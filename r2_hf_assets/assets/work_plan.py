"""`work_plan`: a scan of the bucket, appended to the plan, and the partitions it gives."""

from datetime import timedelta

from dagster import AssetExecutionContext, AssetKey, Config, DataVersion, MaterializeResult, asset
from pydantic import Field

from r2_hf_assets.asset_keys import COMMIT
from r2_hf_assets.bucket.pages import check_access
from r2_hf_assets.bucket.transfers import Bucket
from r2_hf_assets.errors import PlanError, SettingsError
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.ownership import refuse_dataset_without_plan, start_over
from r2_hf_assets.languages import UNKNOWN, normalize
from r2_hf_assets.partitions import add_partitions, partition_key
from r2_hf_assets.plan.scan import ScanReport, ScanRules, scan
from r2_hf_assets.plan.store import PlanStore, open_plan
from r2_hf_assets.resources import SettingsResource
from r2_hf_assets.runs.claim import claim_of
from r2_hf_assets.runs.heartbeat import RunHeartbeat
from r2_hf_assets.runs.history import committed_files, lost_chunks, recorded_digests
from r2_hf_assets.runs.metadata import PLAN_VERSION, scan_metadata
from r2_hf_assets.runs.outcome import report_user_errors, warn_if_ephemeral
from r2_hf_assets.runs.reconcile import examine
from r2_hf_assets.runs.recovered import record_unplanned
from r2_hf_assets.settings import ScanSettings, Settings
from r2_hf_assets.shards.builds import open_builds


class ScanConfig(Config):
    """What to plan."""

    languages: list[str] = Field(
        default=[], description="Plan only these, e.g. [en, de]; empty: every language of the grid."
    )
    automatic: bool = Field(
        default=False,
        description="Hold back a remainder smaller than a chunk until it fills or has waited PLAN_MAX_WAIT_HOURS.",
    )
    start_anew: bool = Field(
        default=False,
        description="Go on although the plan lacks chunks that were built or that the dataset holds: one commit "
        "removes their files from the dataset (its history keeps them); their episodes are numbered and built anew.",
    )


@asset(deps=[AssetKey("episodes")], group_name="speech_dataset", kinds={"s3", "json"})
def work_plan(
    context: AssetExecutionContext, config: ScanConfig, settings: SettingsResource, run_heartbeat: RunHeartbeat
) -> MaterializeResult:
    """Which episodes belong to which chunk: append-only, one immutable manifest a chunk.

    Lists the episode folders of the bucket (never every object) and puts new episodes into new chunks of
    EPISODES_PER_CHUNK. The chunks become the partitions `<language>|chunk_NNNN` of parquet_shards and hub_commit.
    """
    instance = context.instance
    with report_user_errors(context):
        warn_if_ephemeral(context)
        loaded = settings.load_for_scan()
        bucket = Bucket(loaded.r2)
        check_access(bucket, loaded.r2.prefix)
        plan = open_plan(loaded.plan, loaded.r2)
        if config.start_anew:
            _begin_anew(context, plan, loaded)
        else:
            _refuse_a_lost_plan(context, plan, loaded)
        report = scan(bucket, plan, _rules(config, loaded))
        _warn(context, report)
        if config.start_anew:
            record_unplanned(instance, lost_chunks(instance, plan))
    # Partitions follow the manifests, so a scan that died in between is made good by the next one.
    add_partitions(instance, (chunk.number for chunk in report.planned))
    metadata = {**scan_metadata(report), "dagster/uri": loaded.plan.state_url}
    return MaterializeResult(metadata=metadata, data_version=DataVersion(PLAN_VERSION))


def _refuse_a_lost_plan(context: AssetExecutionContext, plan: PlanStore, settings: ScanSettings) -> None:
    """Refuse to number anew what was built, or what the dataset may hold by other numbers."""
    lost = [str(partition_key(*name)) for name in lost_chunks(context.instance, plan)]
    if lost:
        raise PlanError(
            f"plan: {len(lost)} chunks were built that {settings.plan.state_url} (STATE_URL) does not hold "
            f"({', '.join(lost[:3])}); restore it, or take over the script's plan with `r2-hf import`, or begin anew "
            "with `r2-hf scan --start-anew` (start_anew: true)"
        )
    if settings.hub is not None and not plan.numbers():
        repo, plan_id = HubClient(settings.hub, context.log.warning), plan.find_id()
        repo.call_with_retry("look at", lambda: refuse_dataset_without_plan(repo, plan_id))


def _begin_anew(context: AssetExecutionContext, plan: PlanStore, settings: ScanSettings) -> None:
    """Remove the files of other plans from the dataset, and record as due what is not there any more."""
    if settings.hub is None:
        raise SettingsError("start_anew: set HF_REPO_ID and HF_TOKEN: the dataset's files of another plan are removed")
    instance, warn = context.instance, context.log.warning
    plan.check_identity()
    planned = {chunk.name: chunk.digest for chunk in plan.planned()}
    # Of a commit to any dataset: this one may have had another name then.
    recorded, files = recorded_digests(instance, COMMIT), committed_files(instance)
    committed = {
        name: {file.sha256 for file in files.get(name) or () if recorded.get(name) == digest}
        for name, digest in planned.items()
    }
    repo, claim = HubClient(settings.hub, warn), claim_of(instance, plan, open_builds(settings.plan, settings.r2))
    removed, before = repo.call_with_retry("begin anew in", lambda: start_over(repo, claim, committed))
    if removed:
        warn(f"removed {removed} files of an earlier plan from {repo.repo_id}; they are in {before}")
    # Another plan may have removed or replaced what the history records.
    complete = Settings(settings.plan, settings.shards, settings.r2, settings.hub)
    if lost := examine(instance, complete, mark_lost=True, log=warn).lost:
        warn(f"{len(lost)} chunks that were committed are not in {repo.repo_id} any more, and due again")


def _rules(config: ScanConfig, settings: ScanSettings) -> ScanRules:
    grid = frozenset(settings.plan.languages)
    wanted = {tag: normalize(tag) for tag in config.languages}
    unfit = [tag for tag, name in wanted.items() if name not in grid or (name == UNKNOWN and tag != UNKNOWN)]
    if unfit:
        raise SettingsError(f"languages: {', '.join(unfit)} can't be planned: no known language, or not in LANGUAGES")
    return ScanRules(
        languages=frozenset(wanted.values()) or grid,
        episodes_per_chunk=settings.plan.episodes_per_chunk,
        hold_back=timedelta(hours=settings.plan.max_wait_hours) if config.automatic else None,
    )


def _warn(context: AssetExecutionContext, report: ScanReport) -> None:
    decided = [f"{name} ({language}, rule {rule})" for name, (language, rule) in report.changed_rules.items()]
    for what, folders in (
        ("name no known language", report.unknown_folders),
        ("stay as decided; the rule differs now", decided),
        ("can't be read for their names", [ascii(name) for name in report.unreadable_folders]),
    ):
        if folders:
            context.log.warning(f"{len(folders)} folders {what}: {', '.join(folders[:20])}")
