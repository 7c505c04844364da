"""The rows of many chunks, compared as `r2-hf reconcile --rows` does: seconds, peak memory and scratch space.

Run as a process of its own, so that the memory is that of the comparison: `python -m bench.scale.rows FOLDER CHUNKS
EPISODES`. An episode has 100 segments; one in a hundred is a copy of one in an earlier chunk.
"""

import json
import os
import random
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from bench.measure import measure as measure_command
from r2_hf_assets.reconcile.whole import COMPARED, MEMORY_LIMIT, Index, summarize

_SEGMENTS = 100
_COPIED = 100  # of so many episodes, one is a copy
_SIZES = [8000 + 131 * number for number in range(_SEGMENTS)]


def measure(folder: Path, chunks: int, episodes: int) -> Iterator[tuple[str, str]]:
    """Yield each measurement and its value."""
    command = [sys.executable, "-m", "bench.scale.rows", str(folder), str(chunks), str(episodes)]
    folder.mkdir()
    sample = measure_command(command, os.environ, folder)
    seen = sample.reported
    on_disk = f"{seen['scratch'] / 1e6:.0f} MB of scratch"
    memory = f"{sample.peak_mb:.0f} MB at the most, {seen['imported_mb']:.0f} of it before the first row"
    yield (
        f"{seen['rows'] / 1e6:.0f} million rows, {seen['redundant'] / 1e3:.0f} thousand of them repeated",
        f"{sample.wall:.0f} s, {sample.cpu:.0f} CPU s, {memory} (limit of DuckDB: {MEMORY_LIMIT}), {on_disk}",
    )


def _tables(chunks: int, episodes: int) -> Iterator[Index]:
    """Make the indexes one by one."""
    rows, random_bytes = episodes * _SEGMENTS, random.Random(1).randbytes
    copies = rows // _COPIED * 8
    sizes, places = pa.array(_SIZES * episodes, pa.int32()), pa.array(range(rows), pa.int32())
    earlier = b""
    for number in range(chunks):
        noise = earlier + random_bytes(8 * rows - len(earlier))
        earlier = noise[-copies:]
        hashes = pa.Array.from_buffers(pa.uint64(), rows, [None, pa.py_buffer(noise)])
        names = [f"en/{number:06d}{place:06d}aBcDeFgHiJ" for place in range(episodes) for _ in range(_SEGMENTS)]
        yield Index(("en", number), pa.table([pa.array(names), sizes, hashes, places], schema=COMPARED), None)


def main() -> int:
    folder, chunks, episodes = Path(sys.argv[1]) / "database", int(sys.argv[2]), int(sys.argv[3])
    folder.mkdir()
    peak, ended = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(0.05):
            peak = max(peak, _size(folder))

    before = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        found = summarize(_tables(chunks, episodes), folder)
    finally:
        ended.set()
        watcher.join()
        shutil.rmtree(folder)
    values = {"rows": found.rows, "redundant": found.redundant_rows, "scratch": peak, "imported_mb": before}
    print(json.dumps(values))
    return 0


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


if __name__ == "__main__":
    sys.exit(main())
