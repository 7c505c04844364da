"""Rows `scan` and `due`: finding the episodes of a large bucket, and what of a large plan is left to do."""

from functools import partial

from bench.arena import Arena
from bench.compare import Figure, Row, alternate, peak, ratio, said, tell, typical
from bench.data import put_all
from bench.measure import Sample
from bench.sizes import DUE


def scan(arena: Arena) -> Row:
    count = arena.sizes.folders
    bucket = arena.once("folders", lambda: _fill(arena, count))

    def run(way: str) -> Sample:
        with arena.place(bucket) as place:
            return place.job("listing", way)

    samples = alternate({way: partial(run, way) for way in ("ours", "boto3")}, arena.rounds, arena.say)
    return Row(
        "scan",
        f"scan of {count:,} episode folders",
        "boto3 paginator",
        (
            Figure("wall", ratio(samples, "ours", "boto3"), 0.5),
            Figure("peak", typical(samples["ours"], peak), 500, "MB"),
        ),
        (*tell(samples), "ours with the plan written"),
        samples=samples,
    )


def _fill(arena: Arena, count: int) -> str:
    """A bucket of episode folders that hold one tiny object each."""
    arena.say(f"making {count:,} episode folders")
    bucket = "folders"
    arena.s3.create_bucket(bucket)
    keys = (f"processed/{'en' if n % 5 else 'de'}/ep{n:012d}/all_segments.json" for n in range(count))
    put_all(arena.store(bucket), ((key, b"[]") for key in keys))
    return bucket


def due(arena: Arena) -> Row:
    few, many = arena.sizes.partitions // 10, arena.sizes.partitions

    with arena.place("none") as small, arena.place("none") as large:
        for place, planned in ((small, few), (large, many)):
            arena.say(f"making a history of {planned:,} partitions")
            place.job("history", str(planned), str(planned - DUE))
        runs = {f"{few:,}": partial(small.job, "due"), f"{many:,}": partial(large.job, "due")}
        samples = alternate(runs, arena.rounds, arena.say)
    queries = {name: typical(runs, said("queries")) for name, runs in samples.items()}
    assert all(sample.said["due"] == DUE for runs in samples.values() for sample in runs)
    return Row(
        "due",
        f"planned-but-due over {many:,} partitions, {many - DUE:,} materialized",
        "",
        (
            Figure("seconds", typical(samples[f"{many:,}"], said("seconds")), 1.0, "s"),
            Figure(f"queries, over those at {few:,}", queries[f"{many:,}"] / max(1, queries[f"{few:,}"]), 1.0),
        ),
        tuple(
            f"{name}: {typical(runs, said('seconds')):.3f} s, {queries[name]:.0f} queries"
            for name, runs in samples.items()
        ),
        samples=samples,
    )
