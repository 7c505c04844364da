"""The checks of the UI: `plan` on work_plan; `ledger`, `audio`, `ranges`, `texts` and `duplicates` on parquet_shards;
`on_hub` on hub_commit.

The rules are the data plane's (plan/verify.py, shards/verify.py, shards/quality.py, hub/reads.py); here a verdict
becomes a check result.

`ledger` and `on_hub` are evaluated inside the step that makes what they judge, not by steps of their own, because they
judge what only that step has: the rows while they are written, and a commit before it is recorded as done. When one
fails, the step yields the failed result and then fails, so its asset is not materialized, and in the UI, in a backfill,
on the command line and from Python alike the next step can't start. A failed ledger records no build either, so a
hub_commit that somebody starts later finds none, or an earlier one of the same chunk that passed. Checking again
means materializing again, which for the same input gives the same bytes.

The others on parquet_shards are evaluated there too, but they judge the input: they warn, and the chunk goes on. Only
where one of them finds what no input gives, its severity is ERROR, and the step fails as it does for the ledger.

`plan` reads what is stored and changes nothing, so it is a step of its own: it runs with every scan and can be run
alone. It blocks nothing: a plan that is damaged for one language must not stop the others.

The results of partitioned assets are kept by partition; Dagster 1.13 calls that a preview, and says so at every import
unless it is hushed here.
"""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetKey,
    MetadataValue,
    asset_check,
)

from r2_hf_assets.assets.partitions import chunk_partitions
from r2_hf_assets.assets.resources import SettingsResource
from r2_hf_assets.assets.runs import user_errors
from r2_hf_assets.assets.signs_of_life import SignsOfLife
from r2_hf_assets.dagster_internals import PreviewWarning
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.plan.verify import check_plan
from r2_hf_assets.verdict import Severity, Verdict

NOTHING_PLANNED = Verdict(True, Severity.ERROR, "nothing planned")


def _in_step(name: str, asset: str, description: str, *, blocking: bool = True) -> AssetCheckSpec:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PreviewWarning)
        return AssetCheckSpec(
            name, asset=AssetKey(asset), blocking=blocking, partitions_def=chunk_partitions, description=description
        )


LEDGER = _in_step(
    "ledger",
    "parquet_shards",
    "Counted again where the rows are written, against the metadata and each file's footer: every planned episode has "
    "rows or is rejected, every segment is one row or one reject, nothing twice, in order. Fails before anything is "
    "recorded.",
)
QUALITY = [
    _in_step(name, "parquet_shards", description, blocking=False)
    for name, description in (
        ("audio", "A sample of the audio decodes and is as long as duration_seconds says. Warns."),
        ("ranges", "Durations lie within 0.1 s and an hour, DNSMOS within 1 and 5, few are null. Warns."),
        ("texts", "At most one text in a hundred is null or blank. Warns."),
        ("duplicates", "No two rows of the chunk hold the same audio, byte for byte. Warns."),
    )
]
ON_HUB = _in_step(
    "on_hub",
    "hub_commit",
    "Asked of the Hub at the recorded commit: SHA-256 and size of each file are ours, no stale part is left.",
)


def check_results(specs: Iterable[AssetCheckSpec], verdicts: Mapping[str, Verdict]) -> list[AssetCheckResult]:
    """Those of these checks that gave a verdict."""
    return [check_result(spec, verdicts[spec.name]) for spec in specs if spec.name in verdicts]


def nothing_planned(*specs: AssetCheckSpec) -> list[AssetCheckResult]:
    """The results of a cell of the grid that the plan does not fill."""
    return [check_result(spec, NOTHING_PLANNED) for spec in specs]


def check_result(spec: AssetCheckSpec, verdict: Verdict) -> AssetCheckResult:
    """A verdict as the result of this check, its numbers as metadata."""
    return AssetCheckResult(
        check_name=spec.name,
        asset_key=spec.asset_key,
        passed=verdict.passed,
        severity=AssetCheckSeverity[verdict.severity.value],
        description=verdict.summary,
        metadata={name: _metadata(value) for name, value in verdict.numbers.items()},
    )


def _metadata(value: Any) -> Any:
    return MetadataValue.json(value) if isinstance(value, dict | list) else value


@asset_check(
    asset=AssetKey("work_plan"),
    description="Every planned episode stands in one chunk, manifests are whole and without gaps. Warns of folders "
    "that name no known language.",
)
def plan(
    context: AssetCheckExecutionContext, settings: SettingsResource, signs_of_life: SignsOfLife
) -> AssetCheckResult:
    with user_errors(context):
        loaded = settings.load_for_scan()
        verdict = check_plan(open_plan(loaded.plan, loaded.r2))
    context.log.info(verdict.summary)
    return check_result(next(iter(plan.check_specs)), verdict)
