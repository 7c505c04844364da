"""Our whole job in one process, as by `r2-hf`: a scan and every due partition, on the instance in DAGSTER_HOME.

The argument is the largest number of partitions to build; 0 only scans.
"""

import atexit
import gc
import sys
import time

from bench.jobs import report


def main() -> None:
    atexit.register(gc.freeze)
    from r2_hf_assets.cli.in_process import due_chunks, open_instance, run_chunks, run_scan

    limit = int(sys.argv[1]) if len(sys.argv) > 1 else None
    with open_instance() as instance:
        if error := run_scan(instance):
            sys.exit(error)
        done_at = [time.monotonic()]
        for run in run_chunks(instance, due_chunks(instance)[:limit]):
            if run.error:
                sys.exit(f"{run.key}: {run.error}")
            done_at.append(time.monotonic())
    report(
        chunks=len(done_at) - 1,
        seconds_a_chunk=(done_at[-1] - done_at[1]) / max(1, len(done_at) - 2) if done_at[1:] else 0,
    )


if __name__ == "__main__":
    main()
