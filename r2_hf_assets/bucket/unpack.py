"""Objects stored with Content-Encoding: gzip, which S3 hands out as they are stored.

They are unpacked when they are taken, one at a time, never beyond the limit of their request: a small object can hold
gigabytes of zeros.
"""

import gzip
import io
import zlib
from dataclasses import replace

from r2_hf_assets.bucket.judge import Fetched, Unusable

_PIECE_BYTES = 2**20


def unpack(found: Fetched, limit: int) -> Fetched | Unusable:
    """What the object holds, `limit` bytes at the most. One that is not packed is returned as it is."""
    if not found.packed:
        return found
    pieces, size = list[bytes](), 0
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(found.body())) as stream:
            while piece := stream.read(_PIECE_BYTES):
                size += len(piece)
                if size > limit:
                    return Unusable("too_large", f"{found.size} bytes, more than {limit} when unpacked")
                pieces.append(piece)
    except (OSError, EOFError, zlib.error) as problem:
        return Unusable("not_gzip", f"{found.size} bytes; {problem}"[:200])
    return replace(found, pieces=pieces, size=size, packed=False)
