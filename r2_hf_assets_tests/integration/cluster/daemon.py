"""Dagster's daemon, with a backfill looked at every two seconds and not every thirty. Nothing else differs."""

from dagster._daemon import controller
from dagster._daemon.cli import main

controller.DEFAULT_DAEMON_INTERVAL_SECONDS = 2

if __name__ == "__main__":
    main()
