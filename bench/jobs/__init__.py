"""The measured jobs, each run as `python -m bench.jobs.<name>`, with settings from the environment.

A job prints a last line of JSON with its own values, such as rows and seconds a chunk.
"""

import json
import sys


def report(**values: object) -> None:
    """Print the job's last line."""
    sys.stdout.write(json.dumps(values) + "\n")
