"""Row `readers`: time and bytes of a streaming reader of the dataset, by row groups and pages of its files.

There is no target: the choice of PARQUET_ROWGROUP_BYTES and of the writer's batch rests on this table. The Hub serves
plain files, because `datasets` requests ranges of files on the Hub with Xet too.
"""

from functools import partial

from bench.compare import Row, Samples, alternate, peak, reported, typical
from bench.line import open_line
from bench.testbed import Testbed

# Row group MiB and rows a batch: a page ends between batches. The product's are 32 MiB and 64.
_VARIANTS = {
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


def readers(testbed: Testbed) -> Row:
    sizes = testbed.sizes
    variants = list(_VARIANTS)[: sizes.reader_variants]
    samples = {variant: _read(testbed, *_VARIANTS[variant]) for variant in variants}
    table: list[tuple[str, ...]] = [_HEAD]
    for variant, runs in samples.items():
        cells = [variant]
        for what, rounds in runs.items():
            rate = typical(rounds, lambda run: run.reported["rows"] / run.reported["seconds"])
            cells.append(f"{rate:.0f}" if what == "rows" else f"{typical(rounds, reported('seconds')):.2f}")
            cells.append(f"{typical(rounds, reported('bytes')) / 1e6:.0f}")
            cells += [f"{typical(rounds, peak):.0f}"] if what != "first" else []
        table.append(tuple(cells))
    return Row(
        "readers",
        f"`datasets` streaming {sizes.reader_files} files of {sizes.reader_file_mb} MB, rows of 78 kB; shuffle with "
        f"buffer_size=100; rows/s over {sizes.reader_rows:,} rows",
        "",
        (),
        table=tuple(table),
        samples={f"{variant}: {what}": rounds for variant, runs in samples.items() for what, rounds in runs.items()},
    )


def _read(testbed: Testbed, rowgroup_mib: int, batch_rows: int) -> Samples:
    """Measure every kind of reading of files with these options."""
    sizes = testbed.sizes
    testbed.log(f"writing and uploading files with row groups of {rowgroup_mib} MiB, batches of {batch_rows} rows")
    with open_line() as line, testbed.workspace("readers", line=line, xet=False) as workspace:
        files = (sizes.reader_files, sizes.reader_file_mb, rowgroup_mib * 2**20, batch_rows)
        workspace.job("reader", "write", *map(str, files))
        counts = str(line.counts)
        runs = {what: partial(workspace.job, "reader", what, counts) for what in ("first", "shuffle")}
        runs["rows"] = partial(workspace.job, "reader", "rows", counts, str(sizes.reader_rows))
        runs["text"] = partial(workspace.job, "reader", "text", counts)
        return alternate(runs, min(testbed.rounds, _ROUNDS), testbed.log)
