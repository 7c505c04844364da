"""Shards: a chunk's rows as Parquet files, and the ledger of what became no row."""
