"""Row `static`: what a GET costs the client when the server costs nearly nothing.

The S3 server takes most of this machine's cores while objects are fetched, so how fast the client could be is not seen
against it. No figure to reach.
"""

from dataclasses import replace
from pathlib import Path

import obstore

from bench.arena import Arena
from bench.compare import Row, alternate, said, served_by, typical
from bench.line import served
from bench.measure import Sample, cpu_seconds
from bench.static import pack

_NAME = "static server"
_WAYS = {"ours": "fetch", "bare GETs with obstore, 128 threads": "gets"}


def static(arena: Arena) -> Row:
    bucket = arena.speech()
    keys = arena.keys(bucket)

    def make() -> Path:
        folder, store = arena.folder / "static", arena.store(bucket)
        names = keys.read_text().split("\n")
        pack(folder, bucket, ((name, bytes(obstore.get(store, name).bytes())) for name in names))
        return folder

    def run(job: str, url: str, pid: int) -> Sample:
        with arena.place(bucket, R2_ENDPOINT_URL=url) as place:
            before = cpu_seconds(pid)
            sample = place.job(job, str(keys))
            return replace(sample, servers={_NAME: cpu_seconds(pid) - before})

    with served("bench.static", str(arena.once("static", make))) as (url, server):
        runs = {name: lambda job=job: run(job, url, server.pid) for name, job in _WAYS.items()}
        samples = alternate(runs, arena.rounds, arena.say)
    table: list[tuple[str, ...]] = [("client", "objects/s", "MB/s", "CPU an object, ms", "server's CPU an object, ms")]
    for name, of in samples.items():
        count, seconds = typical(of, said("objects")), typical(of, said("seconds"))
        # Without start and imports: of the requests alone.
        costs = (typical(of, said("cpu")), typical(of, served_by(_NAME)))
        table.append(
            (
                name,
                f"{count / seconds:,.0f}",
                f"{typical(of, said('bytes')) / seconds / 1e6:,.0f}",
                *(f"{cost / count * 1e3:.3f}" for cost in costs),
            )
        )
    return Row("static", "GETs from a server that costs nearly nothing", "", (), table=tuple(table), samples=samples)
