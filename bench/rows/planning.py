"""Rows `scan` and `due`: the scan of a large bucket, and the due chunks of a large plan."""

from functools import partial

from bench.compare import Figure, Row, alternate, peak, ratio, reported, summarize, typical
from bench.data import put_all
from bench.measure import Sample
from bench.sizes import DUE
from bench.testbed import Testbed


def scan(testbed: Testbed) -> Row:
    count = testbed.sizes.folders
    bucket = testbed.once("folders", lambda: _fill(testbed, count))

    def run(variant: str) -> Sample:
        with testbed.workspace(bucket) as workspace:
            return workspace.job("listing", variant)

    samples = alternate({variant: partial(run, variant) for variant in ("ours", "boto3")}, testbed.rounds, testbed.log)
    return Row(
        "scan",
        f"scan of {count:,} episode folders",
        "boto3 paginator",
        (
            Figure("wall", ratio(samples, "ours", "boto3"), 0.5),
            Figure("peak", typical(samples["ours"], peak), 500, "MB"),
        ),
        (*summarize(samples), "ours with the plan written"),
        samples=samples,
    )


def _fill(testbed: Testbed, count: int) -> str:
    """Fill a bucket with episode folders of one tiny object each."""
    testbed.log(f"making {count:,} episode folders")
    bucket = "folders"
    testbed.s3.create_bucket(bucket)
    keys = (f"processed/{'en' if n % 5 else 'de'}/ep{n:012d}/all_segments.json" for n in range(count))
    put_all(testbed.store(bucket), ((key, b"[]") for key in keys))
    return bucket


def due(testbed: Testbed) -> Row:
    few, many = testbed.sizes.partitions // 10, testbed.sizes.partitions

    with testbed.workspace("none") as small, testbed.workspace("none") as large:
        for workspace, planned in ((small, few), (large, many)):
            testbed.log(f"making a history of {planned:,} partitions")
            workspace.job("history", str(planned), str(planned - DUE))
        runs = {f"{few:,}": partial(small.job, "due"), f"{many:,}": partial(large.job, "due")}
        samples = alternate(runs, testbed.rounds, testbed.log)
    queries = {name: typical(runs, reported("queries")) for name, runs in samples.items()}
    assert all(sample.reported["due"] == DUE for runs in samples.values() for sample in runs)
    return Row(
        "due",
        f"planned-but-due over {many:,} partitions, {many - DUE:,} materialized",
        "",
        (
            Figure("seconds", typical(samples[f"{many:,}"], reported("seconds")), 1.0, "s"),
            Figure(f"queries, over those at {few:,}", queries[f"{many:,}"] / max(1, queries[f"{few:,}"]), 1.0),
        ),
        tuple(
            f"{name}: {typical(runs, reported('seconds')):.3f} s, {queries[name]:.0f} queries"
            for name, runs in samples.items()
        ),
        samples=samples,
    )
