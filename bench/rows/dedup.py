"""Row `dedup`: bytes sent when a committed chunk is built again on another machine, unchanged and with one episode
changed, by page size. There is no target: the choice of page size rests on this table.
"""

from functools import partial

from bench.compare import Row, alternate, reported, typical
from bench.measure import Sample
from bench.testbed import Testbed

# Rows a batch, content-defined: a page ends between batches, once it has a megabyte.
_VARIANTS = {
    "2.5 MB pages (ours)": ("32", "0"),
    "1 MB pages": ("16", "0"),
    "1 MB pages, content-defined": ("16", "1"),
    "5 MB pages": ("64", "0"),
    "10 MB pages": ("128", "0"),
    "80 MB pages (pyarrow's default)": ("1024", "0"),
    "80 MB pages, content-defined": ("1024", "1"),
}


def dedup(testbed: Testbed) -> Row:
    sizes = str(testbed.sizes.dedup_episodes), str(testbed.sizes.segments)

    def run(variant: str) -> Sample:
        with testbed.workspace("dedup", hub=True) as workspace:
            return workspace.job("dedup", *_VARIANTS[variant], *sizes)

    variants = list(_VARIANTS)[: testbed.sizes.dedup_variants]
    samples = alternate({variant: partial(run, variant) for variant in variants}, min(testbed.rounds, 2), testbed.log)
    numbers = {
        variant: [typical(runs, reported(name)) for name in ("bytes", "first", "unchanged", "changed", "seconds")]
        for variant, runs in samples.items()
    }
    episode = typical(next(iter(samples.values())), reported("episode"))
    table: list[tuple[str, ...]] = [
        ("pages", "file, MB", "first, MB", "unchanged, MB", "one changed, MB", "episodes' worth", "writing, s")
    ]
    table += [
        (
            variant,
            *(f"{count / 1e6:.1f}" for count in (size, first)),
            f"{unchanged / 1e6:.3f}",
            f"{changed / 1e6:.1f}",
            f"{changed / episode:.1f}",
            f"{seconds:.2f}",
        )
        for variant, (size, first, unchanged, changed, seconds) in numbers.items()
    ]
    return Row(
        "dedup",
        f"a chunk of {sizes[0]} episodes of {episode / 1e6:.1f} MB, built again with an empty cache",
        "",
        (),
        table=tuple(table),
        samples=samples,
    )
