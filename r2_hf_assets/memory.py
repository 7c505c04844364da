"""Keeps glibc's malloc from holding on to memory that is free: few arenas, and large blocks given back at once.

By default it makes up to eight arenas a core, and what one of them has freed serves no thread of another; and after the
first large block it keeps blocks of up to 32 MB for later. With 128 threads that fetch, and an upload after them, that
was a third of a run's peak. MALLOC_ARENA_MAX and its like would say the same, but only to a process that has not
started yet.
"""

import ctypes
import os
import traceback
from functools import cache

import pyarrow as pa

# From malloc.h: the option and what it is set to. Audio and the pages of it that pyarrow hands over (schema.py) are
# smaller than 3 MiB: mapped anew each time, they would cost half a CPU second a GB. Blocks that Xet sends are larger.
_OPTIONS = {
    "arenas": (-8, 2),
    "smallest block that is given back when it is freed, bytes": (-3, 3 * 2**20),
    "free memory kept at the end of an arena, bytes": (-1, 4 * 2**20),
}


def release() -> None:
    """Give back what Arrow and malloc keep free: what follows needs memory of its own."""
    pa.default_memory_pool().release_unused()
    if hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)


def clear_frames(error: BaseException) -> None:
    """Drop what the functions that this error came through held, and those of the errors behind it.

    An error keeps its traceback, that keeps their frames, and those keep their variables. Who logs or collects errors
    would keep every buffer and body that was in use when one was raised. The traceback itself stays.
    """
    seen = set[int]()
    behind: list[BaseException | None] = [error]
    while behind:
        one = behind.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            traceback.clear_frames(one.__traceback__)
            behind += [one.__cause__, one.__context__]


@cache
def give_memory_back() -> None:
    """Once a process, before its threads start. Does nothing where the C library is another, or the user has chosen."""
    chosen = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    if not chosen and hasattr(library := ctypes.CDLL(None), "mallopt"):
        for option, value in _OPTIONS.values():
            library.mallopt(option, value)
