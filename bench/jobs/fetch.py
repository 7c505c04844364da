"""The product's GETs alone: the keys of a file, DOWNLOAD_WORKERS in flight, consumed in order."""

import sys
import time
from pathlib import Path

from bench.jobs import report
from r2_hf_assets.bucket.fetch import fetch_in_order
from r2_hf_assets.bucket.response import Fetched
from r2_hf_assets.bucket.transfers import Bucket
from r2_hf_assets.retry import Retry
from r2_hf_assets.settings import load_for_scan

_LOOKAHEAD_BYTES = 32 * 2**20
_LIMIT_BYTES = 2**30


def main() -> None:
    settings = load_for_scan()
    keys = Path(sys.argv[1]).read_text().split("\n")
    bucket = Bucket(settings.r2)
    started, cpu, size = time.monotonic(), time.process_time(), 0
    fetches = fetch_in_order(
        keys,
        lambda key: key,
        bucket,
        workers=settings.r2.workers,
        max_bytes=_LOOKAHEAD_BYTES,
        limit=_LIMIT_BYTES,
        retry=Retry(),
    )
    for key, fetched in fetches:
        if not isinstance(fetched, Fetched):
            sys.exit(f"{key}: {fetched}")
        size += fetched.size
    seconds, cpu = time.monotonic() - started, time.process_time() - cpu
    report(seconds=seconds, cpu=cpu, objects=len(keys), bytes=size)


if __name__ == "__main__":
    main()
