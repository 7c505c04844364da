"""Both ends of the graph, which nothing here makes: `episodes` in the bucket, and `dataset`, the repo on the Hub.

`dataset` carries the check `whole_dataset`, which compares plan, history and Hub as `reconcile` does and blocks
nothing. It is an asset of its own because a check is evaluated in every run that makes its asset: on hub_commit
everything would be compared again for every single chunk. Here check_job, its nightly schedule, or a click runs it.
"""

from dagster import AssetCheckExecutionContext, AssetCheckResult, AssetKey, AssetSpec, asset_check

from r2_hf_assets.asset_keys import COMMIT
from r2_hf_assets.checks import check_result
from r2_hf_assets.reconcile.report import check_report
from r2_hf_assets.resources import SettingsResource
from r2_hf_assets.runs.heartbeat import RunHeartbeat
from r2_hf_assets.runs.outcome import report_user_errors
from r2_hf_assets.runs.reconcile import examine, line, summary

episodes = AssetSpec(
    AssetKey("episodes"),
    group_name="speech_dataset",
    kinds={"s3", "json"},
    description="Processed episodes in the bucket: a folder each, with all_segments.json and an MP3 for every segment.",
)

dataset = AssetSpec(
    AssetKey("dataset"),
    deps=[COMMIT],
    group_name="speech_dataset",
    kinds={"huggingface"},
    description="The dataset repo on the Hub as a whole. hub_commit adds to it; its check compares it with the plan.",
)


@asset_check(
    asset=dataset.key,
    description="Plan, history and Hub say the same: the files of every committed chunk are there, are those that were "
    "built, and nothing else is. Fails with ERROR when rows are missing, other or double, with WARN when the next runs "
    "mend it.",
)
def whole_dataset(
    context: AssetCheckExecutionContext, settings: SettingsResource, run_heartbeat: RunHeartbeat
) -> AssetCheckResult:
    with report_user_errors(context):
        report = examine(context.instance, settings.load(), log=context.log.info)
    verdict = check_report(report, summary(report), [line(difference) for difference in report.differences])
    context.log.info(verdict.summary)
    return check_result(next(iter(whole_dataset.check_specs)), verdict)
