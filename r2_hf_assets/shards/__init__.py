"""Shards: a chunk's rows as Parquet parts, and the ledger of its rejects."""
