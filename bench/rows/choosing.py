"""Row `choosing`: a hundredth of the rows, chosen by the index, against reading everything.

The code is that of docs/reading.md, over a line of 40 MB/s and 30 ms. Audio is small, so that 200,000 rows are written
in a minute; row groups have as many rows as with real audio, so the share of the row groups that are fetched is the
same, and the index is as large. The last column calculates the share of bytes with 80 kB a row.
"""

from functools import partial

from bench.compare import Figure, Row, Samples, alternate, reported, summarize, typical
from bench.line import open_line
from bench.testbed import Testbed

_AUDIO_KB, _REAL_KB = 6.0, 80.0
_SEGMENTS = 100
_DELAY_S = 0.030
_RATE = 40e6
_KINDS = {
    "all": "everything, without the index",
    "run": "1 %: episodes that follow one another",
    "episodes": "1 %: whole episodes at random",
    "rows": "1 %: rows at random",
}
_HEAD = ("", "rows", "row groups", "index, MB", "all, MB", "s", "of everything", "of everything, 80 kB a row")


def choosing(testbed: Testbed) -> Row:
    episodes = max(3, testbed.sizes.choosing_rows // _SEGMENTS)
    with (
        open_line(delay_s=_DELAY_S, rate=_RATE) as line,
        testbed.workspace("choosing", line=line, xet=False) as workspace,
    ):
        testbed.log(f"writing and uploading {episodes * _SEGMENTS:,} rows")
        written = workspace.job("choose", "write", str(episodes), str(_SEGMENTS), str(_AUDIO_KB)).reported
        runs = {_KINDS[what]: partial(workspace.job, "choose", what, str(line.counts)) for what in _KINDS}
        samples = alternate(runs, min(testbed.rounds, 2), testbed.log)
    rows, index, text = (float(written[name]) for name in ("rows", "index_bytes", "text_bytes"))
    return Row(
        "choosing",
        f"1 % of {rows:,.0f} rows of {_AUDIO_KB:.0f} kB, by the index, "
        f"{_RATE / 1e6:.0f} MB/s and {_DELAY_S * 1e3:.0f} ms; the index has {(index - text) / rows:.1f} bytes a row "
        f"without text, {index / rows:.1f} with it",
        "everything",
        (Figure("bytes, episodes that follow one another", _share(samples, "run", 1), 0.03),),
        summarize(samples),
        table=(_HEAD, *(_line(samples, what) for what in _KINDS)),
        samples=samples,
    )


def _share(samples: Samples, what: str, scale: float) -> float:
    """Return bytes over those of everything, with `scale` times the data."""

    def size(name: str) -> float:
        index = typical(samples[_KINDS[name]], reported("index"))
        return index + scale * (typical(samples[_KINDS[name]], reported("bytes")) - index)

    return size(what) / size("all")


def _line(samples: Samples, what: str) -> tuple[str, ...]:
    runs = samples[_KINDS[what]]
    shares = [f"{_share(samples, what, scale):.2%}" for scale in (1, _REAL_KB / _AUDIO_KB)]
    index, total = (f"{typical(runs, reported(name)) / 1e6:.1f}" for name in ("index", "bytes"))
    counts = [f"{typical(runs, reported(name)):,.0f}" for name in ("rows", "groups")]
    return (_KINDS[what], *counts, index, total, f"{typical(runs, reported('seconds')):.1f}", *shares)
