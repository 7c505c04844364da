"""Dagster's daemon with an evaluation of backfills every second instead of every thirty; Dagster has no setting."""

from dagster._daemon import controller
from dagster._daemon.cli import main

if __name__ == "__main__":
    controller.DEFAULT_DAEMON_INTERVAL_SECONDS = 1
    main()
