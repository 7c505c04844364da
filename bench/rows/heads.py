"""Row `heads`: HEADs a second with 60 ms added to every request, against the ceiling of 128 in flight.

They are compared with recorded ETags, none of which has changed. The server has minimal cost, because the S3 server
would use most of this machine's cores.
"""

from bench.compare import Figure, Row, alternate, reported, summarize, typical
from bench.line import open_line, served
from bench.measure import Sample
from bench.rows.latency import DELAY_S, IN_FLIGHT
from bench.static import etag, pack
from bench.testbed import Testbed

_BUCKET = "heads"


def heads(testbed: Testbed) -> Row:
    folder = testbed.folder / "heads"
    keys = [f"processed/en/e{number:07d}/all_segments.json" for number in range(testbed.sizes.heads)]
    pack(folder, _BUCKET, ((key, key.encode()) for key in keys))
    recorded = folder / "recorded"
    recorded.write_text("\n".join(f"{key}\t{etag(key.encode())}" for key in keys))

    def run() -> Sample:
        with testbed.workspace(_BUCKET, R2_ENDPOINT_URL=line.url) as workspace:
            return workspace.job("heads", str(recorded))

    with served("bench.static", str(folder)) as (url, _), open_line(delay_s=DELAY_S) as line:
        line.connect(url)
        samples = alternate({"ours": run}, testbed.rounds, testbed.log)
    ceiling = IN_FLIGHT / DELAY_S
    rate = typical(samples["ours"], lambda sample: sample.reported["objects"] / sample.reported["seconds"])
    cost = typical(samples["ours"], reported("cpu")) / len(keys)
    return Row(
        "heads",
        f"60 ms added to every request, {len(keys):,} HEADs of unchanged objects",
        f"128 in flight: {ceiling:.0f} HEADs/s",
        (Figure("HEADs/s over the ceiling", rate / ceiling, 0.85, at_most=False),),
        (f"{rate:.0f} HEADs/s, {cost * 1e3:.3f} ms of CPU each", *summarize(samples)),
        samples=samples,
    )
