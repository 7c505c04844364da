"""List the episode folders of the bucket, with a delimiter, so that no object in them is listed.

One class A request lists 1,000 folders, so a million episodes cost 1,000 requests. Episodes are listed language by
language in the bucket's own order (pages.py), which becomes plan order. Several languages are listed in parallel, and a
long listing is split into ranges (key_ranges.py), because 1,000 consecutive pages take minutes.

Names that are empty, `.`, `..` or have control characters are passed to `unreadable`: libcurl can't request them.
"""

import re
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
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

Unreadable = Callable[[str], object]  # called with the key prefix of each folder that can't be read


@dataclass(frozen=True)
class LanguageFolder:
    """A folder below the processed prefix, e.g. "en-US", and the language it is planned under."""

    name: str
    language: str


def list_language_folders(
    bucket: Bucket, prefix: str, retry: Retry, unreadable: Unreadable = lambda _: None
) -> list[LanguageFolder]:
    """List the folders right below `prefix`, in byte order."""
    folders = [folder for page in list_pages(bucket, prefix, retry, delimiter="/") for folder in page.prefixes]
    return [LanguageFolder(name, normalize(name)) for name in _readable(prefix, folders, unreadable)]


def list_episodes(
    bucket: Bucket,
    prefix: str,
    folders: Iterable[LanguageFolder],
    retry: Retry,
    unreadable: Unreadable = lambda _: None,
) -> Generator[Iterator[list[str]], None, None]:
    """Yield, for each folder, an iterator of batches of its episodes, in byte order.

    A listing is complete or raises. Closing the generator aborts the requests in flight.
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
    """Yield the names of each page (up to 1,000) of one folder, and the page's end; None for the last page's.

    `after` is the end of an earlier page, behind which the listing continues; "" for the beginning.
    """
    below = f"{prefix}{folder}/"
    with closing(list_pages(bucket, below, retry, "/", after=below + after if after else "")) as listing:
        for page in listing:
            end = page.end.removeprefix(below) or after
            yield _readable(below, page.prefixes), end if page.token else None


def age_of_newest(bucket: Bucket, prefix: str, retry: Retry) -> timedelta | None:
    """Return the time since the last write below `prefix`, by the server's clock; None when nothing is there."""
    pages = [page for page in list_pages(bucket, prefix, retry) if page.written]
    ages = [(page.served or datetime.now(UTC)) - max(page.written) for page in pages]
    return max(min(ages), timedelta(0)) if ages else None


class _Range(NamedTuple):
    """Pages of key prefixes, in order, and the ranges that follow."""

    pages: list[list[str]]
    ranges: "list[Future[_Range]]"

    def flatten(self) -> Iterator[list[str]]:
        yield from self.pages
        for future in self.ranges:
            yield from future.result().flatten()


class _ParallelListing:
    """Lists folders, and key ranges of long folders, in a few threads."""

    def __init__(self, bucket: Bucket, retry: Retry) -> None:
        self._bucket, self._retry = bucket, retry
        # Twice the threads: each may prefetch a page and search for boundaries.
        self._transfers = bucket.open_transfers(workers=2 * _PARALLEL, max_bytes=0, retry=retry)
        self._threads = Background(_PARALLEL, "listing")

    def submit(self, below: str, pages_before_split: int, begin: str = "", end: str | None = None) -> "Future[_Range]":
        """List the folders right below `below`, from `begin` on and before `end`."""
        return self._threads.submit(self._list, below, pages_before_split, begin, end)

    def read(self, below: str, future: "Future[_Range]") -> Iterator[list[str]]:
        """Yield the pages of a listing, in order, each prefix once."""
        order = Order()
        for prefixes in future.result().flatten():
            following = order.follow(prefixes)
            if following is None:  # folders were added or removed while the ranges were listed
                raise RetriesExhausted(f"listing {below}: it changed meanwhile; a later run will try again")
            yield following

    def close(self) -> None:
        self._threads.close()
        self._transfers.close()

    def _list(self, below: str, pages_before_split: int, begin: str, end: str | None) -> _Range:
        result = _Range([[begin]] if begin else [], [])
        listing = list_pages(self._bucket, below, self._retry, "/", after=begin, transfers=self._transfers)
        for number, page in enumerate(listing, 1):
            prefixes, past = page.prefixes, None
            if end and max(prefixes, default="") >= end:
                past = next((index for index, prefix in enumerate(prefixes) if is_past(prefix, end)), None)
            result.pages.append(prefixes[:past])
            if past is not None:
                break
            if number == pages_before_split and page.token and prefixes:
                boundaries = find_boundaries(partial(self._first, below), prefixes[0], prefixes[-1], end, len(below))
                for boundary, following in zip(boundaries, [*boundaries[1:], end], strict=False):
                    result.ranges.append(self.submit(below, pages_before_split * _LONGER, boundary, following))
                end = boundaries[0] if boundaries else end
        return result

    def _first(self, below: str, text: str) -> str | None:
        page = first_page(self._bucket, below, self._retry, "/", after=text, max_keys=1, transfers=self._transfers)
        return page.prefixes[0] if page.prefixes else None


def _readable(prefix: str, folders: Iterable[str], unreadable: Unreadable = lambda _: None) -> list[str]:
    """Return the names of the folders below `prefix`, without the unreadable ones."""
    names = []
    for folder in folders:
        name = folder[len(prefix) : -1]
        if name in _NO_NAMES or _CONTROL.search(name):
            unreadable(folder)
        else:
            names.append(name)
    return names
