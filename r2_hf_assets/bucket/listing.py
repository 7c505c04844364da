"""List the episode folders of the bucket, with a delimiter, so that no object in them is listed.

1,000 folders are one class A request, so a million episodes cost 1,000 requests, whatever they hold. Folders are read
language by language in the bucket's own order (pages.py), which becomes plan order. They are listed in parallel,
and a long one is split into ranges (key_ranges.py), because 1,000 pages in a row are minutes of latency.

Names with control characters, `.`, `..` and empty names are passed to `unreadable`: libcurl takes dots for a path.
"""

import re
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import NamedTuple

from r2_hf_assets.background import Background
from r2_hf_assets.bucket.key_ranges import find_boundaries, is_past
from r2_hf_assets.bucket.pages import Order, first_page, list_pages
from r2_hf_assets.bucket.transfers import Bucket
from r2_hf_assets.errors import RetriesExhausted
from r2_hf_assets.languages import normalize
from r2_hf_assets.retry import Retry

_NO_NAMES = frozenset(("", ".", ".."))
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PARALLEL = 4
# Finding boundaries costs some twenty requests. A range of a range is split when it is longer by this factor.
_PAGES_BEFORE_SPLIT = 8
_LONGER = 8

# Called with the key prefix of each folder that can't be read.
Unreadable = Callable[[str], object]


@dataclass(frozen=True)
class LanguageFolder:
    """A folder below the processed prefix, e.g. "en-US", and the language it is planned under."""

    name: str
    language: str


def list_language_folders(
    bucket: Bucket, prefix: str, retry: Retry, unreadable: Unreadable = lambda _: None
) -> list[LanguageFolder]:
    """List the folders right below `prefix`, in byte order."""
    found = [below for page in list_pages(bucket, prefix, retry, delimiter="/") for below in page.prefixes]
    return [LanguageFolder(name, normalize(name)) for name in _readable(prefix, found, unreadable)]


def list_episodes(
    bucket: Bucket,
    prefix: str,
    folders: Iterable[LanguageFolder],
    retry: Retry,
    unreadable: Unreadable = lambda _: None,
) -> Generator[Iterator[list[str]], None, None]:
    """List the episodes below each of these folders, in byte order and in batches, to be read one folder at a time.

    A listing is complete or an error. Closing the generator aborts what is in flight.
    """
    listing = _ParallelListing(bucket, retry)
    submitted: deque[tuple[str, Future[_Range]]] = deque()

    def names() -> Iterator[list[str]]:
        below, future = submitted.popleft()
        return (_readable(below, prefixes, unreadable) for prefixes in listing.read(below, future))

    try:
        for folder in folders:
            below = f"{prefix}{folder.name}/"
            submitted.append((below, listing.submit(below, _PAGES_BEFORE_SPLIT)))
            if len(submitted) > _PARALLEL:
                yield names()
        while submitted:
            yield names()
    finally:
        listing.close()


def list_episode_pages(
    bucket: Bucket, prefix: str, folder: str, after: str, retry: Retry
) -> Generator[tuple[list[str], str | None], None, None]:
    """List the episodes below one folder page by page (up to 1,000), for callers with little time.

    Args:
        after: the end of an earlier page, to continue behind it; "" for the beginning.

    Yields:
        The names of a page, and its end; None for the last page's.
    """
    below = f"{prefix}{folder}/"
    with closing(list_pages(bucket, below, retry, "/", after=below + after if after else "")) as listing:
        for page in listing:
            end = page.end.removeprefix(below) or after
            yield _readable(below, page.prefixes), end if page.token else None


def age_of_newest(bucket: Bucket, prefix: str, retry: Retry) -> timedelta | None:
    """Time since anything was last written below `prefix`, by the server's clock; None when nothing is there."""
    ages = [
        (page.served or datetime.now(UTC)) - max(page.written)
        for page in list_pages(bucket, prefix, retry)
        if page.written
    ]
    return max(min(ages), timedelta(0)) if ages else None


class _Range(NamedTuple):
    """Pages of key prefixes, in order, and the ranges behind them."""

    pages: list[list[str]]
    behind: "list[Future[_Range]]"

    def flatten(self) -> Iterator[list[str]]:
        yield from self.pages
        for future in self.behind:
            yield from future.result().flatten()


class _ParallelListing:
    """Lists folders, and key ranges of long folders, in a few threads."""

    def __init__(self, bucket: Bucket, retry: Retry) -> None:
        self._bucket, self._retry = bucket, retry
        # Twice the threads: each may have a prefetch and a search for boundaries in flight.
        self._transfers = bucket.open_transfers(workers=2 * _PARALLEL, max_bytes=0, retry=retry)
        self._threads = Background(_PARALLEL, "listing")

    def submit(self, below: str, pages_before_split: int, begin: str = "", end: str | None = None) -> "Future[_Range]":
        """List what lies right below `below`, from `begin` on and before `end`, which are two of its prefixes."""
        return self._threads.submit(self._list, below, pages_before_split, begin, end)

    def read(self, below: str, future: "Future[_Range]") -> Iterator[list[str]]:
        """Yield the pages of a listing, in order, each prefix once."""
        order = Order()
        for prefixes in future.result().flatten():
            following = order.follow(prefixes)
            if following is None:  # folders were added or removed while the ranges were listed
                raise RetriesExhausted(
                    f"listing {below}: its ranges do not follow each other; a later run will try again"
                )
            yield following

    def close(self) -> None:
        """Abort what is in flight."""
        self._threads.close()
        self._transfers.close()

    def _list(self, below: str, pages_before_split: int, begin: str, end: str | None) -> _Range:
        found = _Range([[begin]] if begin else [], [])
        listing = list_pages(self._bucket, below, self._retry, "/", after=begin, transfers=self._transfers)
        for number, page in enumerate(listing, 1):
            prefixes, past = page.prefixes, None
            if end and max(prefixes, default="") >= end:
                past = next((index for index, prefix in enumerate(prefixes) if is_past(prefix, end)), None)
            found.pages.append(prefixes[:past])
            if past is not None:
                break
            if number == pages_before_split and page.token and prefixes:
                boundaries = find_boundaries(partial(self._first, below), prefixes[0], prefixes[-1], end, len(below))
                for boundary, following in zip(boundaries, [*boundaries[1:], end], strict=False):
                    found.behind.append(self.submit(below, pages_before_split * _LONGER, boundary, following))
                end = boundaries[0] if boundaries else end
        return found

    def _first(self, below: str, text: str) -> str | None:
        page = first_page(self._bucket, below, self._retry, "/", after=text, max_keys=1, transfers=self._transfers)
        return page.prefixes[0] if page.prefixes else None


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
