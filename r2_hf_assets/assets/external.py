"""External assets: `episodes` in the bucket, and `dataset`, the repo on the Hub, with the check `whole_dataset`.

The check compares plan, history and Hub as `reconcile --rows` does, and blocks nothing. It belongs to `dataset`,
because a check on hub_commit would compare everything again in the run of each chunk. check_job and its schedule run
it.
"""

import dagster as dg

from r2_hf_assets.asset_keys import COMMIT
from r2_hf_assets.checks import check_result
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
    dg.AssetKey("dataset"),
    deps=[COMMIT],
    group_name="speech_dataset",
    kinds={"huggingface"},
    description="The dataset repo on the Hub. hub_commit adds to it; its check compares it with the plan.",
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
