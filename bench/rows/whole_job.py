"""Rows `script` and `transfer`: the whole job, against the script and against moving the bytes with s5cmd and `hf`.

Our run serves both, so it is measured once a round for the two of them.
"""

import shlex
from collections.abc import Callable

from bench.arena import Arena
from bench.baselines import command, download, installed, missing, upload
from bench.compare import Figure, Row, Samples, alternate, cpu, ratio, tell
from bench.errors import NotInstalled
from bench.measure import Sample

_OURS = "ours"
_SCRIPT = "script"
_TRANSFER = "s5cmd + hf"


def script(arena: Arena) -> Row:
    samples = _samples(arena)
    return Row(
        "script",
        "scan + all partitions + commits, one process start included",
        "the script",
        (
            Figure("wall", ratio(samples, _OURS, _SCRIPT), 0.26),
            Figure("CPU", ratio(samples, _OURS, _SCRIPT, cpu), 0.22),
        ),
        (*tell({name: samples[name] for name in (_SCRIPT, _OURS)}),),
        samples=samples,
    )


def transfer(arena: Arena) -> Row:
    what, baseline = "the whole job", "`s5cmd cp` of the prefix, then `hf upload` of a finished Parquet"
    try:
        samples = _samples(arena)
        command("s5cmd")
    except NotInstalled as name:
        return Row("transfer", what, baseline, (), missing=missing(str(name)))
    return Row(
        "transfer",
        what,
        baseline,
        (Figure("wall", ratio(samples, _OURS, _TRANSFER), 0.9),),
        tell({name: samples[name] for name in (_TRANSFER, _OURS)}),
        samples=samples,
    )


def _samples(arena: Arena) -> Samples:
    def run() -> Samples:
        runs: dict[str, Callable[[], Sample]] = {_OURS: lambda: _run(arena, "process")}
        if "script" in arena.rows:
            runs[_SCRIPT] = lambda: _run(arena, "script")
        if "transfer" in arena.rows and installed("s5cmd"):
            arena.built()
            runs[_TRANSFER] = lambda: _transfer(arena)
        arena.speech()
        return alternate(runs, arena.rounds, arena.say)

    return arena.once("whole job", run)


def _run(arena: Arena, job: str) -> Sample:
    with arena.place(arena.speech(), hub=True, EPISODES_PER_CHUNK=str(arena.sizes.chunk_episodes)) as place:
        return place.job(job)


def _transfer(arena: Arena) -> Sample:
    with arena.place(arena.speech(), hub=True) as place:
        source = download(arena.s3.endpoint_url, arena.speech())
        return place.run(["sh", "-c", f"{shlex.join(source)} && {shlex.join(upload(arena.built()))}"])
