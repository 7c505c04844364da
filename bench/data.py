"""The benchmark's objects: the sandbox's sample episodes, their audio replaced by noise of the same length.

Samples are spliced from a few clips, so compression and Xet find repetitions in them that no real MP3 has: a file
written with ParquetWriter's defaults was a quarter smaller than its audio. Noise is as incompressible as MP3.
"""

import itertools
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import obstore

from r2_hf_sandbox.samples.bucket import sample_episodes

_PUTTERS = 32
_BATCH = 1000  # objects held at once


def fill_bucket(store: Any, **samples: Any) -> None:
    """Put sample episodes, with the arguments of `sample_episodes`."""
    put_all(store, _objects(**samples))


def put_all(store: Any, objects: Iterator[tuple[str, bytes]]) -> None:
    with ThreadPoolExecutor(_PUTTERS) as pool:
        while batch := list(itertools.islice(objects, _BATCH)):
            list(pool.map(lambda item: obstore.put(store, *item), batch))


def _objects(**samples: Any) -> Iterator[tuple[str, bytes]]:
    for episode in sample_episodes(**samples):
        for key, body in episode.objects:
            yield key, random.Random(key).randbytes(len(body)) if key.endswith(".mp3") else body
