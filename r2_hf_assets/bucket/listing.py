"""Which episodes lie in the bucket: folders, listed with a delimiter, never every object.

A listing of 1,000 folders is one class A request, so a million episodes cost 1,000 requests, whatever they hold.
Folders are read language by language in the bucket's own (byte) order: that order becomes plan order.

Names with control characters, and `.`, `..` and empty names, are given to `unreadable`: obstore can't put such a key
into a request, and libcurl takes dots for a path.

A long listing is cut into ranges (cuts.py), and a few ranges and folders are listed side by side: a page waits for the
server, and 1,000 of them in a row for minutes. A listing is whole or nothing. Who has little time takes
`episode_pages`: page by page, and from its middle.
"""

import re
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from r2_hf_assets.bucket.client import Store, classify_boto
from r2_hf_assets.bucket.cuts import find_cuts
from r2_hf_assets.bucket.pages import pages
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
    return [LanguageFolder(name, normalize(name)) for name in _folders(store, prefix, retry, unreadable)]


def episode_ids(
    store: Store, prefix: str, folder: LanguageFolder, retry: Retry, unreadable: Unreadable = _unheeded
) -> list[str]:
    """The episode folders below one language folder, in byte order."""
    found = episodes_of(store, prefix, [folder], retry, unreadable)
    return [name for batches in found for names in batches for name in names]


def episodes_of(
    store: Store, prefix: str, folders: Iterable[LanguageFolder], retry: Retry, unreadable: Unreadable = _unheeded
) -> Generator[Iterator[list[str]], None, None]:
    """The episode folders below each of these language folders, in byte order, in batches, to be read one by one."""
    pool, stop = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="listing"), threading.Event()
    listed: deque[tuple[str, Future[_Listed]]] = deque()

    def names() -> Iterator[list[str]]:
        below, future = listed.popleft()
        return (_readable(below, prefixes, unreadable) for prefixes in _flat(future))

    try:
        for folder in folders:
            listing = _Listing(store, f"{prefix}{folder.name}/", retry, pool, stop)
            listed.append((listing.below, pool.submit(listing.range, _PAGES_BEFORE_A_CUT)))
            if len(listed) > _AT_ONCE:
                yield names()
        while listed:
            yield names()
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def episode_pages(
    client: Any, bucket: str, prefix: str, folder: str, after: str, retry: Retry
) -> Iterator[tuple[list[str], str | None]]:
    """Episode ids below one language folder, page by page (up to 1,000), and where each page ends; None: at the end.

    Args:
        client: a boto3 client.
        after: where an earlier page ended, to go on behind it; "" for the beginning.
    """
    below = f"{prefix}{folder}/"
    where = {"StartAfter": below + after} if after else {}
    while True:
        page = retry.call(
            f"listing {below}",
            lambda where=where: client.list_objects_v2(Bucket=bucket, Prefix=below, Delimiter="/", **where),  # type: ignore[misc]
            classify_boto,
        )
        folders = [item["Prefix"].removeprefix(below) for item in page.get("CommonPrefixes", ())]
        strays = [item["Key"].removeprefix(below) for item in page.get("Contents", ())]
        # Some servers list the folder again behind whose name one goes on.
        ids = [name.removesuffix("/") for name in folders if name != after]
        more = page.get("IsTruncated", False)
        end = max([*folders[-1:], *strays[-1:]], default=after) if more else None
        yield [name for name in ids if _can_be_asked_for(name)], end
        if not more:
            return
        where = {"ContinuationToken": page["NextContinuationToken"]}


def age_of_newest(store: Store, prefix: str, retry: Retry) -> timedelta | None:
    """How long ago anything was last written below `prefix`, by the server's clock; None when nothing is there."""
    ages = [page.served - max(page.written) for page in pages(store, prefix, retry) if page.written]
    return max(min(ages), timedelta(0)) if ages else None


# Key prefixes in byte order, page by page, and the ranges behind them that others list.
_Listed = tuple[list[list[str]], "list[Future[_Listed]]"]


@dataclass(frozen=True)
class _Listing:
    """Lists what lies right below `below`, in as many threads of the pool as its length asks for."""

    store: Store
    below: str
    retry: Retry
    pool: ThreadPoolExecutor
    stop: threading.Event

    def range(self, pages_before_a_cut: int, begin: str = "", end: str | None = None) -> _Listed:
        """Key prefixes from `begin` on, before `end`. If they are many pages, the rest is cut and left to others.

        `begin` is one of them. Whether a server lists it again behind itself, and what stands between a and a/, is
        different from one to the other.
        """
        found = [[begin]] if begin else []
        ranges: list[Future[_Listed]] = []
        listing = pages(self.store, self.below, self.retry, delimiter="/", after=begin.removesuffix("/"))
        with closing(listing):
            for number, page in enumerate(listing, 1):
                last = page.prefixes[-1] if page.prefixes else ""
                found.append([one for one in page.prefixes if begin < one and (end is None or one < end)])
                if self.stop.is_set() or (end is not None and last >= end):
                    break
                if number == pages_before_a_cut and page.more and last > begin:
                    known = self._name(page.prefixes[0]), self._name(last)
                    cuts = [self.below + cut for cut in find_cuts(self._first, *known, end and self._name(end))]
                    more = pages_before_a_cut * _LONGER
                    for cut, following in zip(cuts, [*cuts[1:], end], strict=False):
                        ranges.append(self.pool.submit(self.range, more, cut, following))
                    end = cuts[0] if cuts else end
        return found, ranges

    def _first(self, text: str) -> str | None:
        page = next(pages(self.store, self.below, self.retry, delimiter="/", after=self.below + text, most=1))
        return self._name(page.prefixes[0]) if page.prefixes else None

    def _name(self, prefix: str) -> str:
        return prefix.removeprefix(self.below)


def _flat(listed: Future[_Listed]) -> Iterator[list[str]]:
    found, ranges = listed.result()
    yield from found
    for more in ranges:
        yield from _flat(more)


def _folders(store: Store, prefix: str, retry: Retry, unreadable: Unreadable) -> list[str]:
    found = [below for page in pages(store, prefix, retry, delimiter="/") for below in page.prefixes]
    return _readable(prefix, found, unreadable)


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
