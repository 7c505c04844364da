"""Rows `script` and `transfer`: the whole job, against the script and against moving the bytes with s5cmd and `hf`.

Our run serves both, so it is measured once a round for the two of them.
"""

import shlex
from collections.abc import Callable

from bench.arena import REPO_ID, Arena, command
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
            Figure("wall", ratio(samples, _OURS, _SCRIPT), 1 / 6),
            Figure("CPU", ratio(samples, _OURS, _SCRIPT, cpu), 1 / 5),
        ),
        (*tell({name: samples[name] for name in (_SCRIPT, _OURS)}),),
        samples=samples,
    )


def transfer(arena: Arena) -> Row:
    what, baseline = "the whole job", "`s5cmd cp` of the prefix, then `hf upload` of a finished Parquet"
    try:
        samples = _samples(arena)
        command("s5cmd")
    except NotInstalled as missing:
        return Row("transfer", what, baseline, (), missing=f"baseline not installed ({missing}): make bench")
    return Row(
        "transfer",
        what,
        baseline,
        (Figure("wall", ratio(samples, _OURS, _TRANSFER), 0.8),),
        tell({name: samples[name] for name in (_TRANSFER, _OURS)}),
        samples=samples,
    )


def _samples(arena: Arena) -> Samples:
    def run() -> Samples:
        runs: dict[str, Callable[[], Sample]] = {_OURS: lambda: _ours(arena)}
        if "script" in arena.rows:
            runs[_SCRIPT] = lambda: _script(arena)
        if "transfer" in arena.rows and _installed("s5cmd"):
            arena.built()
            runs[_TRANSFER] = lambda: _transfer(arena)
        arena.speech()
        return alternate(runs, arena.rounds, arena.say)

    return arena.once("whole job", run)


def _installed(name: str) -> bool:
    try:
        return bool(command(name))
    except NotInstalled:
        return False


def _ours(arena: Arena) -> Sample:
    with arena.place(arena.speech(), hub=True) as place:
        return place.job("process")


def _script(arena: Arena) -> Sample:
    with arena.place(arena.speech(), hub=True) as place:
        return place.job("script")


def _transfer(arena: Arena) -> Sample:
    keys = {
        "AWS_ACCESS_KEY_ID": arena.s3.access_key,
        "AWS_SECRET_ACCESS_KEY": arena.s3.secret_key,
        "AWS_REGION": "us-east-1",
    }
    with arena.place(arena.speech(), hub=True, **keys) as place:
        source = f"s3://{arena.speech()}/processed/*"
        download = [command("s5cmd"), "--endpoint-url", arena.s3.endpoint_url, "cp", source, "objects/"]
        upload = [command("hf"), "upload", REPO_ID, str(arena.built()), "data", "--repo-type", "dataset"]
        return place.run(["sh", "-c", f"{shlex.join(download)} && {shlex.join(upload)}"])
