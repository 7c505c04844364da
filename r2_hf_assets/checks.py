"""Asset checks: `plan` on work_plan; `ledger`, `audio`, `ranges`, `texts` and `duplicates` on parquet_shards; `on_hub`
on hub_commit. The rules are the data plane's; here a verdict becomes a check result.

`ledger` and `on_hub` are evaluated inside the step: the rows while they are written, and a commit before it is
recorded. If one fails, the step yields the failed result and then fails, so its asset is not materialized and the next
step can't start. The other checks of parquet_shards cover the input and only warn.

`plan` reads the stored manifests in a step of its own, so it can be run alone. It blocks nothing: manifests that are
damaged for one language must not stop the others.
"""

import warnings
from collections.abc import Iterable, Mapping

import dagster as dg

from r2_hf_assets.asset_keys import COMMIT, SHARDS, WORK_PLAN
from r2_hf_assets.dagster_internals import PreviewWarning
from r2_hf_assets.partitions import chunk_partitions
from r2_hf_assets.plan.check import check_plan
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.resources import SettingsResource
from r2_hf_assets.runs.heartbeat import RunHeartbeat
from r2_hf_assets.runs.outcome import report_user_errors
from r2_hf_assets.verdict import Verdict


def _in_step(name: str, asset: dg.AssetKey, description: str, *, blocking: bool = True) -> dg.AssetCheckSpec:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PreviewWarning)  # of checks with partitions
        return dg.AssetCheckSpec(
            name, asset=asset, blocking=blocking, partitions_def=chunk_partitions, description=description
        )


BUILD_CHECKS = [
    _in_step(
        "ledger",
        SHARDS,
        "Rows counted while they are written agree with the metadata and each file's footer: every planned episode has "
        "rows or rejects, every segment is one row or one reject, in order and without duplicates. Fails the step.",
    ),
    *(
        _in_step(name, SHARDS, description, blocking=False)
        for name, description in (
            ("audio", "A sample of the audio decodes, and its length equals duration_seconds. Warns."),
            ("ranges", "Durations are within 0.1 s and an hour, DNSMOS within 1 and 5, few are null. Warns."),
            ("texts", "At most one text in a hundred is null or blank. Warns."),
            ("duplicates", "No two rows of the chunk have identical audio bytes. Warns."),
        )
    ),
]
ON_HUB = _in_step(
    "on_hub",
    COMMIT,
    "At the recorded commit, SHA-256 and size of each file on the Hub equal the build's, and no stale part is left.",
)


def check_results(specs: Iterable[dg.AssetCheckSpec], verdicts: Mapping[str, Verdict]) -> list[dg.AssetCheckResult]:
    """Return the results of the checks that have a verdict."""
    return [check_result(spec, verdicts[spec.name]) for spec in specs if spec.name in verdicts]


def check_result(spec: dg.AssetCheckSpec, verdict: Verdict) -> dg.AssetCheckResult:
    """Return a verdict as the result of this check, with its numbers as metadata."""
    return dg.AssetCheckResult(
        check_name=spec.name,
        asset_key=spec.asset_key,
        passed=verdict.passed,
        severity=dg.AssetCheckSeverity[verdict.severity.value],
        description=verdict.summary,
        metadata={
            name: dg.MetadataValue.json(value) if isinstance(value, dict | list) else value
            for name, value in verdict.numbers.items()
        },
    )


@dg.asset_check(
    asset=WORK_PLAN,
    description="Every planned episode is in one chunk; manifests are valid and without gaps. Warns of folders that "
    "name no known language.",
)
def plan(
    context: dg.AssetCheckExecutionContext, settings: SettingsResource, run_heartbeat: RunHeartbeat
) -> dg.AssetCheckResult:
    with report_user_errors(context):
        loaded = settings.load_for_scan()
        verdict = check_plan(open_plan(loaded.plan, loaded.r2))
    context.log.info(verdict.summary)
    return check_result(next(iter(plan.check_specs)), verdict)
