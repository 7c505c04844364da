"""`parquet_shards`: a planned chunk as Parquet files; with CHUNKS_PER_COMMIT a run may build several."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from dagster import AssetCheckResult, AssetExecutionContext, MaterializeResult, Output, asset

from r2_hf_assets.assets.checks import LEDGER, QUALITY, check_result, nothing_planned, quality_results
from r2_hf_assets.assets.claim import claim_of, patience
from r2_hf_assets.assets.history import COMMIT, recorded_digests
from r2_hf_assets.assets.metadata import build_metadata, result_for, unplanned_result
from r2_hf_assets.assets.outcome import Outcome
from r2_hf_assets.assets.partitions import chunk_backfills, chunk_partitions, read_key
from r2_hf_assets.assets.pictures import chunk_pictures
from r2_hf_assets.assets.ranges import build_range, is_range
from r2_hf_assets.assets.resources import SettingsResource
from r2_hf_assets.assets.runs import user_errors, warn_if_forgetful
from r2_hf_assets.assets.signs_of_life import SignsOfLife
from r2_hf_assets.assets.work_plan import work_plan
from r2_hf_assets.errors import ShardError
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.commit import check_claim
from r2_hf_assets.plan.chunks import Chunk
from r2_hf_assets.plan.store import PlanStore, open_plan
from r2_hf_assets.settings import Settings
from r2_hf_assets.shards.ahead import AHEAD, building
from r2_hf_assets.shards.quality import check_all
from r2_hf_assets.shards.record import BuildRecord, Tally
from r2_hf_assets.shards.store import ShardStore, open_shards
from r2_hf_assets.shards.verify import check_ledger
from r2_hf_assets.verdict import Severity


@asset(
    partitions_def=chunk_partitions,
    backfill_policy=chunk_backfills,
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
) -> Iterator[MaterializeResult | AssetCheckResult | Output[Any]]:
    """A chunk's segments as Parquet with embedded MP3: data/<language>/chunk-NNNNN[-part-NN].parquet.

    Every segment ends as a row or in the rejects ledger. The same input gives byte-identical files. A cell of the
    grid that the plan does not fill succeeds with no file. Nothing is published whose ledger does not balance.
    """
    with user_errors(context):
        warn_if_forgetful(context)
        # A run that will commit needs the Hub's settings too: better to say so now than after the work.
        selected = context.run.asset_selection
        commits_too = selected is None or COMMIT in selected
        loaded = settings.load("r2", "hub") if commits_too else settings.load("r2")
        assert loaded.r2 is not None
        plan, shards = open_plan(loaded.plan, loaded.r2), open_shards(loaded.shards, loaded.r2)
        build = partial(_build, context, loaded, shards, signs_of_life, commits_too)
        if is_range(context):
            if commits_too and plan.is_begun():
                _check_dataset(context, loaded, plan, shards, signs_of_life)
            yield from build_range(context, plan, shards, build, commits_too=commits_too)
            return
        chunk = plan.find(*read_key(context.partition_key))
        if chunk is None:
            context.log.info("the plan has nothing in this cell")
            yield unplanned_result(nothing_planned(LEDGER, *QUALITY))
            return
        if commits_too:
            _check_dataset(context, loaded, plan, shards, signs_of_life)
        done = build(chunk, context.partition_key, built=AHEAD.begin)
        if done.error is not None:
            yield from done.checks
            raise done.error
        yield result_for(done.digest, done.metadata, done.checks)


def _check_dataset(
    context: AssetExecutionContext,
    loaded: Settings,
    plan: PlanStore,
    shards: ShardStore,
    signs_of_life: SignsOfLife,
) -> None:
    """Better refused now than after the work."""
    assert loaded.hub is not None
    claim = claim_of(context.instance, plan, shards)
    check_claim(HubClient(loaded.hub), claim, retry=patience(signs_of_life), log=context.log.warning)


def _build(
    context: AssetExecutionContext,
    loaded: Settings,
    shards: ShardStore,
    signs_of_life: SignsOfLife,
    commits_too: bool,
    chunk: Chunk,
    key: str,
    built: Callable[[], None] = lambda: None,
) -> Outcome:
    """Build one chunk, check it, and publish what passed. `built` is called before the checks: the line is free.

    A build that waits for its commit, because the Hub refused it or a run was killed, is used again.
    """
    started = time.monotonic()
    if commits_too and (record := _waiting(context, loaded, shards, chunk, key)) is not None:
        built()
        context.log.info(f"{key}: built before and not committed yet; used as it is")
        checks = (check_result(LEDGER, record.verdicts[LEDGER.name]), *quality_results(record.verdicts))
        return Outcome(record.digest, build_metadata(record, _uri(shards, record), 0.0), checks)

    def progress(tally: Tally) -> None:
        signs_of_life.stop_if_ended()
        rate = tally.audio_bytes / 1e6 / (time.monotonic() - started)
        context.log.info(f"{key}: {tally.rows} rows, {tally.audio_bytes / 1e6:.0f} MB, {rate:.0f} MB/s")

    with AHEAD.built(chunk.digest, partial(building, loaded, chunk), progress) as build:
        built()
        ledger = check_ledger(chunk, build.record, [part.path for part in build.parts], build.rejects_path)
        if not ledger.passed:
            error = ShardError(f"{key}: the ledger check failed: {ledger.summary}; not published")
            return Outcome(chunk.digest, {}, (check_result(LEDGER, ledger),), error)
        quality = check_all(build.observed, [part.path for part in build.parts])
        checks = (check_result(LEDGER, ledger), *quality_results(quality))
        for name, verdict in quality.items():
            if not verdict.passed and verdict.severity is Severity.ERROR:
                error = ShardError(f"{key}: the {name} check failed: {verdict.summary}; not published")
                return Outcome(chunk.digest, {}, checks, error)
        record = replace(build.record, verdicts={LEDGER.name: ledger, **quality})
        shards.publish(replace(build, record=record))
    for reason, count in sorted(record.tally.rejects.items()):
        context.log.warning(f"{key}: rejected: {count} x {reason} (ledger: {record.rejects and record.rejects.name})")
    for name, verdict in quality.items():
        if not verdict.passed:
            context.log.warning(f"{key}: check {name}: {verdict.summary}")
    metadata = build_metadata(record, _uri(shards, record), build.seconds) | chunk_pictures(build)
    return Outcome(record.digest, metadata, checks)


def _waiting(
    context: AssetExecutionContext, loaded: Settings, shards: ShardStore, chunk: Chunk, key: str
) -> BuildRecord | None:
    """The build of this chunk that waits for its commit; None when there is none, or it is committed already."""
    recorded = recorded_digests(context.instance, COMMIT, loaded.dataset, [key])
    if recorded.get((chunk.language, chunk.number)) == chunk.digest:
        return None  # who materializes a committed chunk again wants it built again
    return shards.waiting(chunk.language, chunk.number, chunk.digest)


def _uri(shards: ShardStore, record: BuildRecord) -> str:
    return shards.uri(record.language, record.files[0].name if record.files else "")
