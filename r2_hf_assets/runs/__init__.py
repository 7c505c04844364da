"""Support for runs: history, heartbeat, metadata and progress."""
