"""What serves runs: their history, heartbeat, metadata and progress."""
