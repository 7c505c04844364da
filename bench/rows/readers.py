"""Row `readers`: what a streaming reader of the dataset waits for and downloads, by row groups and pages of its files.

No figure to reach: the choice of PARQUET_ROWGROUP_BYTES and of the writer's batch rests on this table. The Hub serves
plain files here: ranges of them are what `datasets` asks for, on the Hub with Xet too.
"""

from functools import partial

from bench.arena import Arena
from bench.compare import Row, Samples, alternate, peak, said, typical
from bench.line import open_line

# Row group bytes and rows a batch: pages are cut between batches. The product's are 32 MiB and 64.
_WAYS = {
    "128 MiB": (128, 64),
    "32 MiB": (32, 64),
    "16 MiB": (16, 64),
    "8 MiB": (8, 64),
    "32 MiB, batches of 16 rows": (32, 16),
    "32 MiB, batches of 128 rows": (32, 128),
}
_ROUNDS = 2
_HEAD = (
    "row groups",
    "first row, s",
    "MB",
    "first row with shuffle, s",
    "MB",
    "peak, MB",
    "rows/s",
    "MB",
    "peak, MB",
    "`text` of all rows, s",
    "MB",
    "peak, MB",
)


def readers(arena: Arena) -> Row:
    sizes = arena.sizes
    ways = list(_WAYS)[: sizes.reader_ways]
    samples = {way: _read(arena, *_WAYS[way]) for way in ways}
    table: list[tuple[str, ...]] = [_HEAD]
    for way, runs in samples.items():
        cells = [way]
        for what, of in runs.items():
            rate = typical(of, lambda run: run.said["rows"] / run.said["seconds"])
            cells.append(f"{rate:.0f}" if what == "rows" else f"{typical(of, said('seconds')):.2f}")
            cells.append(f"{typical(of, said('bytes')) / 1e6:.0f}")
            cells += [f"{typical(of, peak):.0f}"] if what != "first" else []
        table.append(tuple(cells))
    return Row(
        "readers",
        f"`datasets` streaming {sizes.reader_files} files of {sizes.reader_file_mb} MB, rows of 78 kB; shuffle with "
        f"buffer_size=100; rows/s over {sizes.reader_rows:,} rows",
        "",
        (),
        table=tuple(table),
        samples={f"{way}: {what}": of for way, runs in samples.items() for what, of in runs.items()},
    )


def _read(arena: Arena, rowgroup_mib: int, batch_rows: int) -> Samples:
    """Every kind of reading of files written that way."""
    sizes = arena.sizes
    arena.say(f"writing and uploading files with row groups of {rowgroup_mib} MiB, batches of {batch_rows} rows")
    with open_line() as line, arena.place("readers", line=line, xet=False) as place:
        files = (sizes.reader_files, sizes.reader_file_mb, rowgroup_mib * 2**20, batch_rows)
        place.job("reader", "write", *map(str, files))
        counts = str(line.counts)
        runs = {what: partial(place.job, "reader", what, counts) for what in ("first", "shuffle")}
        runs["rows"] = partial(place.job, "reader", "rows", counts, str(sizes.reader_rows))
        runs["text"] = partial(place.job, "reader", "text", counts)
        return alternate(runs, min(arena.rounds, _ROUNDS), arena.say)
