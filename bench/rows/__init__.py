"""The rows of the table, by name, in their order."""

from collections.abc import Callable

from bench.compare import Row
from bench.rows.building import build, cpu_a_gb, parquet
from bench.rows.choosing import choosing
from bench.rows.chunks import chunks
from bench.rows.dedup import dedup
from bench.rows.heads import heads
from bench.rows.latency import latency
from bench.rows.lines import line, one_chunk
from bench.rows.memory import disk, memory
from bench.rows.planning import due, scan
from bench.rows.readers import readers
from bench.rows.static import static
from bench.rows.whole_job import floor, script, transfer
from bench.testbed import Testbed

ROWS: dict[str, Callable[[Testbed], Row]] = {
    "script": script,
    "build": build,
    "cpu": cpu_a_gb,
    "transfer": transfer,
    "floor": floor,
    "line": line,
    "one_chunk": one_chunk,
    "memory": memory,
    "disk": disk,
    "parquet": parquet,
    "scan": scan,
    "due": due,
    "chunks": chunks,
    "latency": latency,
    "heads": heads,
    "static": static,
    "dedup": dedup,
    "readers": readers,
    "choosing": choosing,
}
