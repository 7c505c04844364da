"""List the episode folders of the bucket, with a delimiter, so that no object in them is listed.

1,000 folders are one class A request, so a million episodes cost 1,000 requests, whatever they hold. Language folders
are listed in parallel and read in the bucket's own order, which becomes plan order.

Names with control characters, `.`, `..` and empty names are passed to `unreadable`: libcurl takes dots for a path.
"""

import re
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from r2_hf_assets.background import Background
from r2_hf_assets.bucket.pages import pages
from r2_hf_assets.bucket.transfers import Bucket
from r2_hf_assets.languages import normalize
from r2_hf_assets.retry import Retry

_NO_NAMES = frozenset(("", ".", ".."))
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PARALLEL = 4  # pages are parsed in Python, so more gain little

# Called with the key prefix of each folder that can't be read.
Unreadable = Callable[[str], object]


@dataclass(frozen=True)
class LanguageFolder:
    """A folder below the processed prefix, e.g. "en-US", and the language it is planned under."""

    name: str
    language: str


def language_folders(
    bucket: Bucket, prefix: str, retry: Retry, unreadable: Unreadable = lambda _: None
) -> list[LanguageFolder]:
    """List the folders right below `prefix`, in byte order."""
    found = [below for page in pages(bucket, prefix, retry, delimiter="/") for below in page.prefixes]
    return [LanguageFolder(name, normalize(name)) for name in _readable(prefix, found, unreadable)]


def episodes_of(
    bucket: Bucket,
    prefix: str,
    folders: Iterable[LanguageFolder],
    retry: Retry,
    unreadable: Unreadable = lambda _: None,
) -> Generator[Iterator[list[str]], None, None]:
    """List the episodes below each of these folders, in byte order and in batches, to be read one folder at a time.

    A listing is complete or an error. Closing the generator aborts what is in flight.
    """
    transfers = bucket.open_transfers(workers=_PARALLEL, max_bytes=0, retry=retry)
    threads = Background(_PARALLEL, "listing")

    def list_folder(below: str) -> list[list[str]]:
        return [page.prefixes for page in pages(bucket, below, retry, "/", transfers=transfers)]

    waiting = (f"{prefix}{folder.name}/" for folder in folders)
    submitted = deque((below, threads.submit(list_folder, below)) for below in islice(waiting, _PARALLEL + 1))
    try:
        while submitted:
            below, found = submitted.popleft()
            yield (_readable(below, prefixes, unreadable) for prefixes in found.result())
            submitted.extend((below, threads.submit(list_folder, below)) for below in islice(waiting, 1))
    finally:
        threads.close()
        transfers.close()


def episode_pages(
    bucket: Bucket, prefix: str, folder: str, after: str, retry: Retry
) -> Generator[tuple[list[str], str | None], None, None]:
    """List the episodes below one folder page by page (up to 1,000), for callers with little time.

    Args:
        after: the end of an earlier page, to continue behind it; "" for the beginning.

    Yields:
        The names of a page, and its end; None for the last page's.
    """
    below = f"{prefix}{folder}/"
    with closing(pages(bucket, below, retry, "/", after=below + after if after else "")) as listing:
        for page in listing:
            end = page.end.removeprefix(below) or after
            yield _readable(below, page.prefixes), end if page.token else None


def age_of_newest(bucket: Bucket, prefix: str, retry: Retry) -> timedelta | None:
    """Time since anything was last written below `prefix`, by the server's clock; None when nothing is there."""
    ages = [
        (page.served or datetime.now(UTC)) - max(page.written) for page in pages(bucket, prefix, retry) if page.written
    ]
    return max(min(ages), timedelta(0)) if ages else None


def _readable(prefix: str, found: Sequence[str], unreadable: Unreadable = lambda _: None) -> list[str]:
    """The names of these folders below `prefix`, without those that can't be part of a key that is requested."""
    names = [below[len(prefix) : -1] for below in found]
    if not _CONTROL.search("".join(names)) and _NO_NAMES.isdisjoint(names):
        return names  # nearly always
    readable = []
    for below, name in zip(found, names, strict=True):
        if name in _NO_NAMES or _CONTROL.search(name):
            unreadable(below)
        else:
            readable.append(name)
    return readable
