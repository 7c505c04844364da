"""The pass after the kills, a process: `python -m r2_hf_assets_tests.soak.second_pass`, in a site's environment.

It scans once more, and builds and commits every planned chunk once more, without kills. It prints one JSON object: the
errors, and how many chunks the scan added.
"""

import json
import sys

from dagster import DagsterInstance

from r2_hf_assets.cli.in_process import run_chunks, run_scan
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.settings import load


def main() -> int:
    settings = load()
    plan = open_plan(settings.plan, settings.r2)
    with DagsterInstance.get() as instance:
        before = plan.planned()
        errors = [run_scan(instance)]
        planned = plan.planned()
        errors += [f"{run.key}: {run.error}" for run in run_chunks(instance, planned) if run.error]
    print(json.dumps({"errors": [error for error in errors if error], "added": len(planned) - len(before)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
