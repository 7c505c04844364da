"""What a run in this process says to its terminal: its warnings, each as one plain line, and nothing else.

Dagster's own console logger would add a trace of forty lines to every failure, and to Ctrl-C; the run's log keeps all
of that, and who started the run says in one line why it failed. Warnings are worth seeing as they come: why a commit
waits, what was rejected.

    en|chunk_0007: rejected: 2 x audio_missing (ledger: chunk-00007.rejects.parquet)
"""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dagster import Field, InitLoggerContext, logger

from r2_hf_assets.dagster_internals import PARTITION_NAME_TAG

# The one message of its own that Dagster logs like a user's: of each step behind one that failed.
_SKIPPED = "Not executing."


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")


_say: Callable[[str], None] = _to_stderr


@contextmanager
def heard_by(say: Callable[[str], None]) -> Iterator[None]:
    """Have `say` take the lines of this process's runs, in place of stderr."""
    global _say
    before, _say = _say, say
    try:
        yield
    finally:
        _say = before


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        about = getattr(record, "dagster_meta", {})
        line = about.get("orig_message") or record.getMessage()
        # What Dagster itself tells of the run stays in its log.
        if about.get("dagster_event") is None and not line.endswith(_SKIPPED):
            who = (about.get("job_tags") or {}).get(PARTITION_NAME_TAG) or about.get("step_key") or "run"
            _say(line if line.startswith(f"{who}: ") else f"{who}: {line}")  # of several chunks each names its own


# Takes what Dagster's console logger takes, under whose name it stands: such a run can be started again in the UI.
@logger({"log_level": Field(str, default_value="WARNING"), "name": Field(str, default_value="dagster")})
def plain_lines(context: InitLoggerContext) -> logging.Logger:
    """Warnings of a run as plain lines on stderr."""
    made = logging.Logger("r2-hf", context.logger_config["log_level"])
    made.addHandler(_Lines())
    return made
