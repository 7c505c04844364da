"""Row `dedup`: what goes over the line when a committed chunk is built again on another machine, unchanged and with one
episode changed, by how its pages are cut.

No figure to reach: this table is what the choice of page size and against content-defined chunking rests on.
"""

from functools import partial

from bench.arena import Arena
from bench.compare import Row, alternate, said, typical
from bench.measure import Sample

# Rows a batch: pages are cut between batches once they are a megabyte. 1024 is pyarrow's default.
_WAYS = {
    "2.5 MB pages (ours)": ("32", "0"),
    "1 MB pages": ("16", "0"),
    "1 MB pages, content-defined": ("16", "1"),
    "5 MB pages": ("64", "0"),
    "10 MB pages": ("128", "0"),
    "80 MB pages (pyarrow's default)": ("1024", "0"),
    "80 MB pages, content-defined": ("1024", "1"),
}


def dedup(arena: Arena) -> Row:
    sizes = str(arena.sizes.dedup_episodes), str(arena.sizes.segments)

    def run(way: str) -> Sample:
        with arena.place("dedup", hub=True) as place:
            return place.job("dedup", *_WAYS[way], *sizes)

    ways = list(_WAYS)[: arena.sizes.dedup_ways]
    samples = alternate({way: partial(run, way) for way in ways}, min(arena.rounds, 2), arena.say)
    numbers = {
        way: [typical(of, said(name)) for name in ("bytes", "first", "unchanged", "changed", "seconds")]
        for way, of in samples.items()
    }
    episode = typical(next(iter(samples.values())), said("episode"))
    table: list[tuple[str, ...]] = [
        ("pages", "file, MB", "first, MB", "unchanged, MB", "one changed, MB", "episodes' worth", "writing, s")
    ]
    table += [
        (
            way,
            *(f"{count / 1e6:.1f}" for count in (size, first)),
            f"{unchanged / 1e6:.3f}",
            f"{changed / 1e6:.1f}",
            f"{changed / episode:.1f}",
            f"{took:.2f}",
        )
        for way, (size, first, unchanged, changed, took) in numbers.items()
    ]
    return Row(
        "dedup",
        f"a chunk of {sizes[0]} episodes of {episode / 1e6:.1f} MB, built again with an empty cache",
        "",
        (),
        table=tuple(table),
        samples=samples,
    )
