"""`dataset`: the repo on the Hub as a whole, and its check `whole_dataset`.

Nothing here makes it: hub_commit adds to it, chunk by chunk. It is an asset of its own because a check belongs to an
asset and is evaluated in every run that makes this one. On hub_commit, comparing everything would be done again for
every single chunk; here it is done when it is asked for: by check_job, by its daily schedule, or by a click.

It compares plan, history and Hub as `reconcile` does, and blocks nothing.
"""

from dagster import AssetCheckExecutionContext, AssetCheckResult, AssetKey, AssetSpec, asset_check

from r2_hf_assets.assets.checks import check_result
from r2_hf_assets.assets.reconcile import examine, line, summary
from r2_hf_assets.assets.resources import SettingsResource
from r2_hf_assets.assets.runs import user_errors
from r2_hf_assets.assets.signs_of_life import SignsOfLife
from r2_hf_assets.reconcile.report import judge

dataset = AssetSpec(
    AssetKey("dataset"),
    deps=[AssetKey("hub_commit")],
    group_name="speech_dataset",
    kinds={"huggingface"},
    owners=["team:speech-data"],
    tags={"domain": "podcast-speech"},
    description="The dataset repo on the Hub as a whole. hub_commit adds to it; its check compares it with the plan.",
)


@asset_check(
    asset=dataset.key,
    description="Plan, history and Hub say the same: the files of every committed chunk are there, are those that were "
    "built, and nothing else is. Fails with ERROR when rows are missing, other or double, with WARN when the next runs "
    "mend it.",
)
def whole_dataset(
    context: AssetCheckExecutionContext, settings: SettingsResource, signs_of_life: SignsOfLife
) -> AssetCheckResult:
    with user_errors(context):
        report = examine(context.instance, settings.load("r2", "hub"), log=context.log.info)
    verdict = judge(report, summary(report), [line(difference) for difference in report.differences])
    context.log.info(verdict.summary)
    return check_result(next(iter(whole_dataset.check_specs)), verdict)
