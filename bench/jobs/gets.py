"""GETs with obstore alone: the keys of a file, synchronous calls in DOWNLOAD_WORKERS threads."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import obstore

from bench.jobs import report
from r2_hf_assets.bucket.client import object_store
from r2_hf_assets.settings import load_for_scan


def main() -> None:
    settings = load_for_scan()
    keys = Path(sys.argv[1]).read_text().split("\n")
    store = object_store(settings.r2)
    started, cpu = time.monotonic(), time.process_time()
    with ThreadPoolExecutor(settings.r2.workers) as pool:
        size = sum(pool.map(lambda key: len(obstore.get(store, key).bytes()), keys))
    seconds, cpu = time.monotonic() - started, time.process_time() - cpu
    report(seconds=seconds, cpu=cpu, objects=len(keys), bytes=size)


if __name__ == "__main__":
    main()
