"""ListObjectsV2, page by page, by libcurl: up to 1,000 names a request, each one class A operation.

Names come URL-encoded, because XML has no way to write a control character. The next page is asked for before one is
handed out, so the server works while its names are read. A page is repeated when it fails, not the listing.
"""

import threading
import xml.etree.ElementTree as ET
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import unquote_plus, urlencode

from obstore.store import S3Store

from r2_hf_assets.bucket import answers
from r2_hf_assets.bucket.cuts import HIGHEST
from r2_hf_assets.bucket.order import Order
from r2_hf_assets.bucket.transfers import Transfers
from r2_hf_assets.retry import Retry, Trouble

_ROOT = "ListBucketResult"
_NO_LISTING = answers.no_proper_answer("no listing in its body")
_NO_ORDER = answers.no_proper_answer("the names of its listing are not in order")
_NO_BOUND = 2**40  # a page is as large as it is, and there is one at a time
# A user who mistyped the endpoint should not wait long for the answer.
_CHECK_RETRY = Retry(attempts=3, limit=60.0, silence=10.0)


@dataclass(frozen=True, slots=True)
class Page:
    """Key prefixes up to the delimiter, in order; when each object without one was last written.

    Attributes:
        end: the last prefix or key, behind which a later listing goes on.
        token: where the server goes on; None after the last page.
        served: when, by the clock that `written` goes by; None where the answer has no Date.
    """

    prefixes: list[str]
    written: list[datetime]
    end: str = ""
    token: str | None = field(default=None, repr=False)
    served: datetime | None = field(default=None, compare=False)

    @property
    def more(self) -> bool:
        """Whether it is not the last page."""
        return self.token is not None


class OpenListings:
    """Listings that are under way. `close` ends them, whoever waits for them."""

    def __init__(self) -> None:
        self._open: set[Transfers] = set()
        self._closed = False
        self._lock = threading.Lock()

    @contextmanager
    def holding(self, transfers: Transfers) -> Iterator[Transfers]:
        """Close these at the end of the block, or before by `close`."""
        with closing(transfers):
            with self._lock:
                if self._closed:
                    raise RuntimeError("listing has ended")
                self._open.add(transfers)
            try:
                yield transfers
            finally:
                with self._lock:
                    self._open.discard(transfers)

    def close(self) -> None:
        """From any thread. Nothing can be opened afterwards."""
        with self._lock:
            self._closed, found = True, [*self._open]
        for transfers in found:
            transfers.close()


def pages(
    store: S3Store,
    prefix: str,
    retry: Retry,
    delimiter: str = "",
    *,
    after: str = "",
    most: int = 1000,
    only_first: bool = False,
    listings: OpenListings | None = None,
) -> Generator[Page, None, None]:
    """List what lies below `prefix`.

    Args:
        after: a key, or a prefix that ends in the delimiter; only what stands behind it.
        most: names of a page.
        only_first: end with the first page, and ask for no other.
        listings: where this one can be closed from another thread.

    Raises:
        GaveUp: passing trouble outlasted the retries.
        AccessError: the credentials were refused, or there is no such bucket.
        RuntimeError: it was closed from another thread.
    """
    is_folder = bool(delimiter) and after.endswith(delimiter)
    query = {"list-type": "2", "encoding-type": "url", "prefix": prefix, "delimiter": delimiter, "max-keys": str(most)}
    query |= {"start-after": after + HIGHEST if is_folder else after} if after else {}
    what = f"listing {prefix or 'the bucket'}"
    read = partial(_read, Order(after if is_folder else ""))
    with (listings or OpenListings()).holding(
        Transfers(store, workers=1, max_bytes=_NO_BOUND, retry=retry)
    ) as transfers:
        asked = transfers.ask_listing(urlencode(query), what, read)
        while True:
            page: Page = transfers.take(asked)
            transfers.leave(asked)
            goes_on = page.more and not only_first
            if goes_on:
                query = {**query, "continuation-token": page.token or ""}
                asked = transfers.ask_listing(urlencode(query), what, read)
            yield page
            if not goes_on:
                return


def first_page(store: S3Store, prefix: str, retry: Retry, delimiter: str = "", **more: Any) -> Page:
    """The first page that `pages` gives, by one request."""
    with closing(pages(store, prefix, retry, delimiter, only_first=True, **more)) as listing:
        return next(listing)


def check_access(store: S3Store, prefix: str) -> None:
    """List one name before any work: a wrong endpoint is one line (GaveUp), wrong credentials too (AccessError)."""
    first_page(store, prefix, _CHECK_RETRY, most=1)


def _read(order: Order, body: bytes, served: datetime | None) -> Page | Trouble:
    """The page in an answer; trouble for what is no listing, or one that goes on and does not say where."""
    try:
        root = ET.fromstring(body)
        page = _page(root)
    except (ET.ParseError, ValueError, LookupError):  # a proxy's page, say
        return _NO_LISTING
    if not root.tag.endswith(_ROOT) or not (page.token or _text(root, "IsTruncated") == "false"):
        return _NO_LISTING
    prefixes = order.follow(page.prefixes)
    return _NO_ORDER if prefixes is None else replace(page, prefixes=prefixes, served=served)


def _text(listing: ET.Element, name: str) -> str | None:
    return listing.findtext(_named(listing, name))


def _named(listing: ET.Element, name: str) -> str:
    """The name in the listing's namespace. (ElementTree's `{*}` takes ten times as long.)"""
    return listing.tag.removesuffix(_ROOT) + name


def _page(listing: ET.Element) -> Page:
    contents = listing.findall(_named(listing, "Contents"))
    prefixes = [folder[0].text or "" for folder in listing.findall(_named(listing, "CommonPrefixes"))]
    last_key = [contents[-1].findtext(_named(listing, "Key")) or ""] if contents else []
    if _text(listing, "EncodingType") == "url":
        prefixes, last_key = [[unquote_plus(name) for name in names] for names in (prefixes, last_key)]
    last_modified = _named(listing, "LastModified")
    written = [datetime.fromisoformat(found.findtext(last_modified) or "") for found in contents]
    token = _text(listing, "NextContinuationToken") if _text(listing, "IsTruncated") == "true" else None
    return Page(prefixes, written, max([*prefixes[-1:], *last_key], default=""), token or None)
