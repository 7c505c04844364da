"""Row `latency`: objects a second with 60 ms added to every request, against the ceiling of 128 in flight.

Objects are small, because at full size the machine, the proxy and the server are the limit. Bare GETs over the same
line show how much of the ceiling the machine allows.
"""

from bench.compare import Figure, Row, alternate, ratio, reported, summarize, typical
from bench.line import open_line
from bench.measure import Sample
from bench.testbed import Testbed

DELAY_S = 0.060
IN_FLIGHT = 128
_SEGMENTS = 100
_SECONDS = (0.5, 1.5)


def latency(testbed: Testbed) -> Row:
    segments = min(_SEGMENTS, testbed.sizes.latency_objects // 2)
    episodes = testbed.sizes.latency_objects // segments
    bucket = testbed.bucket("latency", episodes={"en": episodes}, segments=(segments,) * 2, seconds=_SECONDS)
    keys = str(testbed.keys(bucket))

    def run(job: str, *arguments: str) -> Sample:
        with testbed.workspace(bucket, R2_ENDPOINT_URL=line.url) as workspace:
            return workspace.job(job, *arguments)

    with open_line(delay_s=DELAY_S) as line:
        line.connect(testbed.s3.endpoint_url)
        runs = {"ours": lambda: run("build"), "GETs": lambda: run("gets", keys)}
        samples = alternate(runs, testbed.rounds, testbed.log)
    ceiling = IN_FLIGHT / DELAY_S
    rates = {name: typical(r, lambda s: s.reported["objects"] / s.reported["seconds"]) for name, r in samples.items()}
    return Row(
        "latency",
        f"60 ms added to every request, {testbed.sizes.latency_objects:,} objects of 6 kB",
        f"128 in flight: {ceiling:.0f} objects/s",
        (Figure("objects/s over the ceiling", rates["ours"] / ceiling, 0.85, at_most=False),),
        (
            f"{rates['ours']:.0f} objects/s; bare GETs {rates['GETs']:.0f}; "
            f"time over that of bare GETs {ratio(samples, 'ours', 'GETs', reported('seconds')):.2f}x",
            *summarize(samples),
        ),
        samples=samples,
    )
