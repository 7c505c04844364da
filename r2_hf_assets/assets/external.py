"""External assets: `episodes` in the bucket, and `dataset`, the repo on the Hub, with two checks that block nothing.

`whole_dataset` compares plan, history and Hub as `reconcile --rows` does; check_job and its schedule run it. `reader`
reads the dataset as its users do; card_job runs it after the card, from which readers know the configs. They belong to
`dataset`, because a check on hub_commit would look at everything again in the run of each chunk.
"""

from collections.abc import Iterator
from dataclasses import replace

import dagster as dg

from r2_hf_assets.asset_keys import CARD, COMMIT, DATASET
from r2_hf_assets.checks import check_result
from r2_hf_assets.hub.reader import NothingToRead, advice, check_reader
from r2_hf_assets.reconcile.report import check_report
from r2_hf_assets.reconcile.whole import check_rows, look_at_rows
from r2_hf_assets.resources import SettingsResource
from r2_hf_assets.runs.heartbeat import RunHeartbeat
from r2_hf_assets.runs.outcome import report_user_errors
from r2_hf_assets.runs.reconcile import examine, line, summary

episodes = dg.AssetSpec(
    dg.AssetKey("episodes"),
    group_name="speech_dataset",
    kinds={"s3", "json"},
    description="Processed episodes in the bucket: one folder each, with all_segments.json and an MP3 per segment.",
)

dataset = dg.AssetSpec(
    DATASET,
    deps=[COMMIT],
    group_name="speech_dataset",
    kinds={"huggingface"},
    description="The dataset repo on the Hub. hub_commit adds to it; its checks compare it with the plan, and read it.",
)


@dg.asset_check(
    asset=dataset.key,
    description="Plan, history and Hub agree: the Hub holds the files of each committed chunk as they were built, and "
    "no others; the rows of each index are planned, and no audio is repeated. Fails with ERROR if rows are missing, "
    "changed or not planned, with WARN if the next runs repair it, or if audio is repeated.",
)
def whole_dataset(
    context: dg.AssetCheckExecutionContext, settings: SettingsResource, run_heartbeat: RunHeartbeat
) -> dg.AssetCheckResult:
    with report_user_errors(context):
        loaded = settings.load()
        report = examine(context.instance, loaded, log=context.log.info)
        rows = look_at_rows(loaded, report.hub, context.log.info)
    report.add(rows.differences)
    verdict = check_report(report, summary(report), [line(difference) for difference in report.differences])
    verdict = check_rows(verdict, rows)
    context.log.info(verdict.summary)
    return check_result(next(iter(whole_dataset.check_specs)), verdict)


READER = dg.AssetCheckSpec(
    "reader",
    asset=DATASET,
    additional_deps=[CARD],
    description="A row of each config on the card is streamed by `datasets`, and its audio decoded; on huggingface.co "
    "the viewer shows the dataset. Warns. Not evaluated while there is no card, or `datasets` is not installed.",
)


@dg.multi_asset_check(specs=[READER], can_subset=True)  # so that it may have no result
def reader(
    context: dg.AssetCheckExecutionContext, settings: SettingsResource, run_heartbeat: RunHeartbeat
) -> Iterator[dg.AssetCheckResult]:
    with report_user_errors(context):
        try:
            verdict = check_reader(settings.load().hub)
        except NothingToRead as nothing:
            context.log.warning(str(nothing))
            return
    if not verdict.passed:
        verdict = replace(verdict, summary=f"{verdict.summary} -> {advice(verdict)}")
    context.log.info(verdict.summary)
    yield check_result(READER, verdict)
