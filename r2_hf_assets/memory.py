"""Keeps glibc's malloc from holding on to memory: two arenas for all threads.

By default it makes up to eight arenas a core, and what one of them has freed serves no thread of another. With 128
threads that fetch, and an upload after them, that was a fifth of a run's peak, and fresh pages cost CPU besides.
MALLOC_ARENA_MAX would say the same, but only to a process that has not started yet.
"""

import ctypes
import os
from functools import cache

_M_ARENA_MAX = -8  # malloc.h
_ARENAS = 2


@cache
def share_arenas() -> None:
    """Once a process, before its threads start. Does nothing where the C library is another, or the user has chosen."""
    if "MALLOC_ARENA_MAX" not in os.environ and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(_M_ARENA_MAX, _ARENAS)
