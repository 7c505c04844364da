"""Row `latency`: objects a second with 60 ms added to every request, against what 128 in flight allow.

Objects are small here: at full size the wire of this machine, the proxy and the server are the limit, not the wait.
Bare GETs over the same line tell how much of the ceiling the machine leaves to anyone.
"""

from bench.arena import Arena
from bench.compare import Figure, Row, alternate, ratio, said, tell, typical
from bench.line import open_line
from bench.measure import Sample

_DELAY_S = 0.060
_IN_FLIGHT = 128
_SEGMENTS = 100
_SECONDS = (0.5, 1.5)


def latency(arena: Arena) -> Row:
    segments = min(_SEGMENTS, arena.sizes.latency_objects // 2)
    episodes = arena.sizes.latency_objects // segments
    bucket = arena.bucket("latency", episodes={"en": episodes}, segments=(segments,) * 2, seconds=_SECONDS)
    keys = str(arena.keys(bucket))

    def run(job: str, *arguments: str) -> Sample:
        with arena.place(bucket, R2_ENDPOINT_URL=line.url) as place:
            return place.job(job, *arguments)

    with open_line(delay_s=_DELAY_S) as line:
        line.lead_to(arena.s3.endpoint_url)
        runs = {"ours": lambda: run("build"), "GETs": lambda: run("gets", keys)}
        samples = alternate(runs, arena.rounds, arena.say)
    ceiling = _IN_FLIGHT / _DELAY_S
    rates = {name: typical(of, lambda s: s.said["objects"] / s.said["seconds"]) for name, of in samples.items()}
    return Row(
        "latency",
        f"60 ms added to every request, {arena.sizes.latency_objects:,} objects of 6 kB",
        f"128 in flight: {ceiling:.0f} objects/s",
        (Figure("objects/s over the ceiling", rates["ours"] / ceiling, 0.85, at_most=False),),
        (
            f"{rates['ours']:.0f} objects/s; bare GETs {rates['GETs']:.0f}; "
            f"time over theirs {ratio(samples, 'ours', 'GETs', said('seconds')):.2f}x",
            *tell(samples),
        ),
        samples=samples,
    )
