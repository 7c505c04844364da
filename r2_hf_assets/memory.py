"""Limits of the free memory that glibc's malloc retains: few arenas, and large blocks returned at once.

By default malloc makes up to eight arenas a core, which share no free memory, and retains free blocks of up to 32 MB.
With 128 threads that was a third of a run's peak. MALLOC_ARENA_MAX and the like affect only processes started later.
"""

import ctypes
import os
import traceback
from functools import cache

import pyarrow as pa

# Options of mallopt(3), and their values. Audio and pyarrow's pages of it (schema.py) are smaller than 3 MiB: a mapping
# for each would cost half a CPU second a GB. Blocks that Xet sends are larger.
_OPTIONS = {
    -8: 2,  # M_ARENA_MAX
    -3: 3 * 2**20,  # M_MMAP_THRESHOLD: bytes of the smallest block that is returned when it is freed
    -1: 4 * 2**20,  # M_TRIM_THRESHOLD: free bytes kept at the end of an arena
}


def release_free_memory() -> None:
    """Return the free memory of Arrow and malloc to the operating system."""
    pa.default_memory_pool().release_unused()
    if hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)


def clear_frames(error: BaseException | None) -> None:
    """Release the local variables, and so the buffers, in the tracebacks of an error and its causes."""
    visited = set[int]()
    while error is not None and id(error) not in visited:
        visited.add(id(error))
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


@cache
def limit_free_memory() -> None:
    """Set the limits before threads start, unless the user has set malloc's options."""
    configured = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    if not configured and hasattr(library := ctypes.CDLL(None), "mallopt"):
        for option, value in _OPTIONS.items():
            library.mallopt(option, value)
