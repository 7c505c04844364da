"""What is measured, each run as `python -m bench.jobs.<name>`: settings come from the environment, as for the product.

A job prints one line of JSON at the end, what only it can know: how many rows, when each chunk was done.
"""

import json
import sys


def say(**values: object) -> None:
    """The job's last line."""
    sys.stdout.write(json.dumps(values) + "\n")
