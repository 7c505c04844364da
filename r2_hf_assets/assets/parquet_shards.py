"""`parquet_shards`: uploads a planned chunk as Parquet into the Hub's content store; hub_commit makes it visible."""

from collections.abc import Iterator

import dagster as dg

from r2_hf_assets.asset_keys import COMMIT
from r2_hf_assets.assets.work_plan import work_plan
from r2_hf_assets.checks import BUILD_CHECKS, check_results
from r2_hf_assets.hub.amendments import refuse_old_plan
from r2_hf_assets.hub.build import CheckFailed, build_on_hub
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.commit import prepare_repo
from r2_hf_assets.hub.reads import refuse_lost_sources
from r2_hf_assets.partitions import chunk_partitions, read_key
from r2_hf_assets.plan.due import DUE_AGAIN
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.resources import SettingsResource
from r2_hf_assets.runs.build_progress import BuildProgress
from r2_hf_assets.runs.claim import claim_of
from r2_hf_assets.runs.heartbeat import RunHeartbeat
from r2_hf_assets.runs.history import recorded_digests
from r2_hf_assets.runs.metadata import build_metadata, result_for, unplanned_result
from r2_hf_assets.runs.outcome import report_user_errors
from r2_hf_assets.shards.builds import open_builds
from r2_hf_assets.shards.record import BuildRecord, Tally


@dg.asset(
    partitions_def=chunk_partitions,
    deps=[work_plan],
    group_name="speech_dataset",
    kinds={"s3", "parquet"},
    pool="builds",
    check_specs=BUILD_CHECKS,
)
def parquet_shards(
    context: dg.AssetExecutionContext, settings: SettingsResource, run_heartbeat: RunHeartbeat
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """A chunk's segments as Parquet with embedded MP3, uploaded while they are written; hub_commit makes them visible.

    Each segment becomes a row or a reject in the index; a build whose ledger does not balance is not recorded.
    The same input gives byte-identical files. A partition without a planned chunk succeeds with no file: a backfill of
    all languages and all chunks launches a run for each of these too. `planned_chunks` and `r2-hf process` do not.
    """
    with report_user_errors(context):
        loaded = settings.load()
        plan, builds = open_plan(loaded.plan, loaded.r2), open_builds(loaded.plan, loaded.r2)
        chunk = plan.find(*read_key(context.partition_key))
        if chunk is None:
            context.log.info("no chunk is planned for this partition")
            yield unplanned_result(BUILD_CHECKS)
            return
        repo = HubClient(loaded.hub, context.log.warning, run_heartbeat.commit_retry())
        prepare_repo(repo, claim_of(context.instance, plan, builds))  # hub_commit does too, but after the upload
        refuse_old_plan(repo, plan.amendments)
        record = builds.find(*chunk.name, chunk.digest, repo.dataset)
        committed = recorded_digests(context.instance, COMMIT, loaded.dataset, [context.partition_key])
        # A committed chunk is built again, even if it is due again: the Hub may have lost its content too.
        if record is not None and committed.get(chunk.name) not in (chunk.digest, DUE_AGAIN):
            context.log.info("already built and not yet committed; the build record is reused")
            yield _result(record, 0.0)
            return
        build_progress = BuildProgress(context.partition_key, context.log.info)

        def progress(tally: Tally) -> None:
            run_heartbeat.raise_if_terminated()
            build_progress.report(tally)

        try:
            plan_id = plan.ensure_id()
            build = build_on_hub(chunk, loaded.r2, repo, loaded.shards, plan_id=plan_id, progress=progress)
        except CheckFailed as failed:
            yield from check_results(BUILD_CHECKS, failed.verdicts)
            raise
        run_heartbeat.raise_if_terminated()
        if committed.get(chunk.name) != chunk.digest:  # else someone asks for what the bucket has now
            refuse_lost_sources(repo, build.record)
        builds.write(build.record)
        _warn(context, build.record)
        yield _result(build.record, build.seconds)


def _warn(context: dg.AssetExecutionContext, record: BuildRecord) -> None:
    """Log the rejects and the failed checks of a build."""
    for reason, count in sorted(record.tally.rejects.items()):
        index = record.index and record.index.path
        context.log.warning(f"{context.partition_key}: rejected: {count} x {reason} (index: {index})")
    for name, verdict in record.verdicts.items():
        if not verdict.passed:
            context.log.warning(f"{context.partition_key}: check {name}: {verdict.summary}")


def _result(record: BuildRecord, seconds: float) -> dg.MaterializeResult:
    return result_for(record.digest, build_metadata(record, seconds), check_results(BUILD_CHECKS, record.verdicts))
