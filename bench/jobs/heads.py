"""The product's HEADs alone: a file's keys with their recorded ETags, DOWNLOAD_WORKERS in flight, compared in order."""

import sys
import time
from operator import itemgetter
from pathlib import Path

from bench.jobs import report
from r2_hf_assets.bucket.fetch import head_in_order
from r2_hf_assets.bucket.transfers import Bucket
from r2_hf_assets.retry import Retry
from r2_hf_assets.settings import load_for_scan


def main() -> None:
    r2 = load_for_scan().r2
    recorded = [line.split("\t") for line in Path(sys.argv[1]).read_text().splitlines()]
    started, cpu = time.monotonic(), time.process_time()
    for (key, etag), head in head_in_order(recorded, itemgetter(0), Bucket(r2), workers=r2.workers, retry=Retry()):
        if head is None or head.etag != etag:
            sys.exit(f"{key}: {head}")
    seconds, cpu = time.monotonic() - started, time.process_time() - cpu
    report(seconds=seconds, cpu=cpu, objects=len(recorded))


if __name__ == "__main__":
    main()
