"""Podcast speech from an S3 bucket to a Hugging Face dataset, planned, built and committed by Dagster."""

import os
import sys

# Arrow reads it when it is loaded, which any module below may do first. Its default, mimalloc, holds on to more of what
# a build has freed: 80 MB more at a run's peak.
if sys.platform == "linux":  # wheels for other systems may lack it
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")
