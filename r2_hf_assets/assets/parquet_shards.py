"""`parquet_shards`: a planned chunk as Parquet files in the Hub's content store, not yet visible."""

from collections.abc import Iterator

from dagster import AssetCheckResult, AssetExecutionContext, MaterializeResult, asset

from r2_hf_assets.asset_keys import COMMIT
from r2_hf_assets.assets.build_progress import ProgressLines, tell_watch
from r2_hf_assets.assets.checks import LEDGER, QUALITY, check_results, nothing_planned
from r2_hf_assets.assets.claim import claim_of, patience
from r2_hf_assets.assets.history import recorded_digests
from r2_hf_assets.assets.metadata import build_metadata, result_for, unplanned_result
from r2_hf_assets.assets.partitions import chunk_partitions, read_key
from r2_hf_assets.assets.resources import SettingsResource
from r2_hf_assets.assets.runs import user_errors, warn_if_forgetful
from r2_hf_assets.assets.signs_of_life import SignsOfLife
from r2_hf_assets.assets.work_plan import work_plan
from r2_hf_assets.hub.build import CheckFailed, build_on_hub
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.commit import check_claim
from r2_hf_assets.plan.chunks import Chunk
from r2_hf_assets.plan.due import DUE_AGAIN
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.shards.build import Build
from r2_hf_assets.shards.builds import BuildStore, open_builds
from r2_hf_assets.shards.record import BuildRecord, Tally


@asset(
    partitions_def=chunk_partitions,
    deps=[work_plan],
    group_name="speech_dataset",
    kinds={"s3", "parquet"},
    owners=["team:speech-data"],
    tags={"domain": "podcast-speech"},
    pool="builds",
    check_specs=[LEDGER, *QUALITY],
)
def parquet_shards(
    context: AssetExecutionContext, settings: SettingsResource, signs_of_life: SignsOfLife
) -> Iterator[MaterializeResult | AssetCheckResult]:
    """A chunk's segments as Parquet with embedded MP3, uploaded while they are written; hub_commit makes them visible.

    Every segment ends as a row or in the rejects ledger. The same input gives byte-identical files. A cell of the
    grid that the plan does not fill succeeds with no file. Nothing is recorded whose ledger does not balance.
    """
    with user_errors(context):
        warn_if_forgetful(context)
        loaded = settings.load()
        plan, builds = open_plan(loaded.plan, loaded.r2), open_builds(loaded.plan, loaded.r2)
        chunk = plan.find(*read_key(context.partition_key))
        if chunk is None:
            context.log.info("the plan has nothing in this cell")
            yield unplanned_result(nothing_planned(LEDGER, *QUALITY))
            return
        repo = HubClient(loaded.hub, context.log.warning, patience(signs_of_life))
        # Better refused now than after the work.
        check_claim(repo, claim_of(context.instance, plan, builds))
        record = builds.find(chunk.language, chunk.number, chunk.digest, repo.dataset)
        if record is not None and not _is_done(context, loaded.dataset, chunk):
            context.log.info("built before and not committed yet; used as it is")
            yield _result(builds, record, 0.0)
            return
        lines = ProgressLines(context.partition_key, context.log.info)

        def progress(tally: Tally) -> None:
            signs_of_life.stop_if_ended()
            lines.tell(tally)
            tell_watch(tally)

        try:
            build = build_on_hub(chunk, loaded.r2, repo, loaded.shards, progress=progress)
        except CheckFailed as failed:
            yield from check_results((LEDGER, *QUALITY), failed.verdicts)
            raise
        signs_of_life.stop_if_ended()
        builds.write(build.record, build.rejects)
        _warn(context, build)
        yield _result(builds, build.record, build.seconds)


def _is_done(context: AssetExecutionContext, dataset: str | None, chunk: Chunk) -> bool:
    """Whether the chunk was committed, even if the Hub lost it since.

    Then its build record is no build that waits for its commit: who asks for the chunk wants it built again, and what
    the Hub lost may be gone from its content store too.
    """
    recorded = recorded_digests(context.instance, COMMIT, dataset, [context.partition_key])
    return recorded.get((chunk.language, chunk.number)) in (chunk.digest, DUE_AGAIN)


def _warn(context: AssetExecutionContext, build: Build) -> None:
    """Say in the run's log what became no row, and what the checks found."""
    record = build.record
    for reason, count in sorted(record.tally.rejects.items()):
        ledger = record.rejects and record.rejects.name
        context.log.warning(f"{context.partition_key}: rejected: {count} x {reason} (ledger: {ledger})")
    for name, verdict in record.verdicts.items():
        if not verdict.passed:
            context.log.warning(f"{context.partition_key}: check {name}: {verdict.summary}")


def _result(builds: BuildStore, record: BuildRecord, seconds: float) -> MaterializeResult:
    metadata = build_metadata(record, builds.ledger_uri(record), seconds)
    return result_for(record.digest, metadata, check_results((LEDGER, *QUALITY), record.verdicts))
