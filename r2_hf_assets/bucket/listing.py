"""Which episodes lie in the bucket: folders, listed with a delimiter, never every object.

A listing of 1,000 folders is one class A request, so a million episodes cost 1,000 requests, whatever they hold.
Folders are read language by language in the bucket's own order (order.py): that order becomes plan order.

Names with control characters, and `.`, `..` and empty names, are given to `unreadable`: obstore can't put such a key
into a request, and libcurl takes dots for a path.

A long listing is cut into ranges (cuts.py), and a few ranges and folders are listed side by side: a page waits for the
server, and 1,000 of them in a row for minutes. A listing is whole or nothing. Who has little time takes
`episode_pages`: page by page, and from its middle.
"""

import re
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, InvalidStateError, wait
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any

from r2_hf_assets.background import Background
from r2_hf_assets.bucket.client import Store
from r2_hf_assets.bucket.cuts import find_cuts
from r2_hf_assets.bucket.order import Order, reached
from r2_hf_assets.bucket.pages import OpenListings, first_page, pages
from r2_hf_assets.errors import GaveUp
from r2_hf_assets.languages import normalize
from r2_hf_assets.retry import Retry

_NO_NAMES = frozenset(("", ".", ".."))
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_AT_ONCE = 4
# A cut costs some twenty requests for one name; a range of a range is cut when it is longer by this factor.
_PAGES_BEFORE_A_CUT = 8
_LONGER = 8

# Told the key prefix of each folder that can't be read.
Unreadable = Callable[[str], None]


@dataclass(frozen=True)
class LanguageFolder:
    """A folder below the processed prefix, e.g. "en-US", and the language it is planned under."""

    name: str
    language: str


def _unheeded(prefix: str) -> None:
    pass


def language_folders(
    store: Store, prefix: str, retry: Retry, unreadable: Unreadable = _unheeded
) -> list[LanguageFolder]:
    """The folders right below `prefix`, in byte order."""
    found = [below for page in pages(store, prefix, retry, delimiter="/") for below in page.prefixes]
    return [LanguageFolder(name, normalize(name)) for name in _readable(prefix, found, unreadable)]


def episodes_of(
    store: Store, prefix: str, folders: Iterable[LanguageFolder], retry: Retry, unreadable: Unreadable = _unheeded
) -> Generator[Iterator[list[str]], None, None]:
    """The episode folders below each of these language folders, in byte order, in batches, to be read one by one.

    A folder that can't be listed ends it as soon as what is asked for has to be waited for: the scan has failed then.
    Closing it ends what is under way, however long a server would be silent.
    """
    workers = _Workers()
    listed: deque[tuple[str, Future[_Listed]]] = deque()

    def names() -> Iterator[list[str]]:
        below, future = listed.popleft()
        return (_readable(below, prefixes, unreadable) for prefixes in _in_order(below, workers, future))

    try:
        for folder in folders:
            listing = _Listing(store, f"{prefix}{folder.name}/", retry, workers)
            listed.append((listing.below, workers.submit(listing.range, _PAGES_BEFORE_A_CUT)))
            if len(listed) > _AT_ONCE:
                yield names()
        while listed:
            yield names()
    finally:
        workers.close()


def episode_pages(
    store: Store, prefix: str, folder: str, after: str, retry: Retry
) -> Generator[tuple[list[str], str | None], None, None]:
    """Episode ids below one language folder, page by page (up to 1,000), and where each page ends; None: at the end.

    Args:
        after: where an earlier page ended, to go on behind it; "" for the beginning.
    """
    below = f"{prefix}{folder}/"
    with closing(pages(store, below, retry, "/", after=below + after if after else "")) as listing:
        for page in listing:
            end = page.end.removeprefix(below) or after
            yield _readable(below, page.prefixes, _unheeded), end if page.more else None


def age_of_newest(store: Store, prefix: str, retry: Retry) -> timedelta | None:
    """How long ago anything was last written below `prefix`, by the server's clock; None when nothing is there."""
    ages = [
        (page.served or datetime.now(UTC)) - max(page.written) for page in pages(store, prefix, retry) if page.written
    ]
    return max(min(ages), timedelta(0)) if ages else None


# Key prefixes in order, page by page, and the ranges behind them that others list.
_Listed = tuple[list[list[str]], "list[Future[_Listed]]"]


class _Workers:
    """Threads that list side by side. One that fails is noted at once, whoever is waited for."""

    def __init__(self) -> None:
        self.listings = OpenListings()
        self._threads = Background(_AT_ONCE, "listing")
        self._failed: Future[_Listed] = Future()

    def submit(self, function: Callable[..., _Listed], *arguments: Any) -> "Future[_Listed]":
        return self._threads.submit(self._call, function, *arguments)

    def result(self, future: "Future[_Listed]") -> _Listed:
        """Wait for what was submitted. Raises what any of it raised."""
        wait((future, self._failed), return_when=FIRST_COMPLETED)
        return (future if future.done() else self._failed).result()

    def close(self) -> None:
        """End what is under way, at once."""
        self._threads.close()
        self.listings.close()

    def _call(self, function: Callable[..., _Listed], *arguments: Any) -> _Listed:
        try:
            return function(*arguments)
        except BaseException as error:
            with suppress(InvalidStateError):  # another one failed before
                self._failed.set_exception(error)
            raise


@dataclass(frozen=True)
class _Listing:
    """Lists what lies right below `below`, in as many of the threads as its length asks for."""

    store: Store
    below: str
    retry: Retry
    workers: _Workers

    def range(self, pages_before_a_cut: int, begin: str = "", end: str | None = None) -> _Listed:
        """Key prefixes from `begin` on, before `end`. If they are many pages, the rest is cut and left to others.

        `begin` and `end` are two of them, so their places are the same in whichever order the server lists.
        """
        found = [[begin]] if begin else []
        ranges: list[Future[_Listed]] = []
        listings = self.workers.listings
        with closing(pages(self.store, self.below, self.retry, "/", after=begin, listings=listings)) as listing:
            for number, page in enumerate(listing, 1):
                ours = page.prefixes
                if end is not None and max(ours, default="") >= end:
                    ours = [*takewhile(lambda one, end=end: not reached(one, end), page.prefixes)]  # type: ignore[misc]
                found.append(ours)
                if len(ours) < len(page.prefixes):
                    break
                if number == pages_before_a_cut and page.more and ours:
                    known = self._name(ours[0]), self._name(ours[-1])
                    cuts = [self.below + cut for cut in find_cuts(self._first, *known, end and self._name(end))]
                    more = pages_before_a_cut * _LONGER
                    for cut, following in zip(cuts, [*cuts[1:], end], strict=False):
                        ranges.append(self.workers.submit(self.range, more, cut, following))
                    end = cuts[0] if cuts else end
        return found, ranges

    def _first(self, text: str) -> str | None:
        listings = self.workers.listings
        behind = self.below + text
        page = first_page(self.store, self.below, self.retry, "/", after=behind, most=1, listings=listings)
        return self._name(page.prefixes[0]) if page.prefixes else None

    def _name(self, prefix: str) -> str:
        return prefix.removeprefix(self.below)


def _in_order(below: str, workers: _Workers, listed: Future[_Listed]) -> Iterator[list[str]]:
    """The pages of a listing and of its ranges, each prefix once."""
    order = Order()
    for prefixes in _flat(workers, listed):
        following = order.follow(prefixes)
        if following is None:  # its folders changed while its ranges were listed
            raise GaveUp(f"listing {below}: its ranges do not follow each other; a later run will try again")
        yield following


def _flat(workers: _Workers, listed: Future[_Listed]) -> Iterator[list[str]]:
    found, ranges = workers.result(listed)
    yield from found
    for more in ranges:
        yield from _flat(workers, more)


def _readable(prefix: str, found: Sequence[str], unreadable: Unreadable) -> list[str]:
    names = [below[len(prefix) : -1] for below in found]
    if _CONTROL.search("".join(names)) is None and not _NO_NAMES.intersection(names):
        return names  # nearly always
    for below, name in zip(found, names, strict=True):
        if not _can_be_asked_for(name):
            unreadable(below)
    return [name for name in names if _can_be_asked_for(name)]


def _can_be_asked_for(name: str) -> bool:
    """Whether this may be a part of a key that is asked for."""
    return name not in _NO_NAMES and not _CONTROL.search(name)
