"""List a bucket page by page with ListObjectsV2: up to 1,000 names a request, each one class A operation.

Names are requested URL-encoded, because XML can't hold control characters. The next page is prefetched before one is
yielded. A page that fails is requested again, not the whole listing.
"""

import xml.etree.ElementTree as ET
from collections.abc import Generator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import Any
from urllib.parse import unquote_plus, urlencode

from r2_hf_assets.bucket.s3_errors import request_failed
from r2_hf_assets.bucket.transfers import Bucket, Transfers
from r2_hf_assets.retry import FIRST_REQUEST, Retry, TransientError

_ROOT = "ListBucketResult"
# 1,000 URL-encoded keys of 1,024 bytes take 4 MB.
_PAGE_BYTES = 8 * 2**20
# Sorts behind every other text with the same prefix; XML can hold it.
HIGHEST = "\U0010fffd"


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a listing."""

    prefixes: list[str]  # keys up to the delimiter, in order
    written: list[datetime]  # last write of each object without a delimiter in its key
    end: str = ""  # the last prefix or key, behind which a later listing continues
    token: str | None = field(default=None, repr=False)  # of the next page; None for the last page
    served: datetime | None = field(default=None, compare=False)  # the response's Date, by the clock of `written`


class Order:
    """Check that each prefix of a listing follows the previous one, across its pages.

    S3 and R2 list by key, so `a-b/` precedes `a/`. Servers with real folders (SeaweedFS) list by name, so `a` precedes
    `a-b`. A listing has one of the two orders. Some servers repeat the last prefix of a page on the next one.
    """

    def __init__(self, last: str = "") -> None:
        self._last = last
        self._by_key = self._by_name = True

    def follow(self, prefixes: Sequence[str]) -> list[str] | None:
        """Return the prefixes without repeats; None, without a change of state, when they are not in order."""
        unique = [prefix for prefix, _ in groupby([self._last, *prefixes])]
        names = [prefix[:-1] for prefix in unique]
        by_key, by_name = self._by_key and unique == sorted(unique), self._by_name and names == sorted(names)
        if not (by_key or by_name):
            return None
        self._by_key, self._by_name, self._last = by_key, by_name, unique[-1]
        return unique[1:]


def list_pages(
    bucket: Bucket,
    prefix: str,
    retry: Retry,
    delimiter: str = "",
    *,
    after: str = "",
    max_keys: int = 1000,
    only_first: bool = False,
    transfers: Transfers | None = None,
) -> Generator[Page, None, None]:
    """List the keys or, with a delimiter, the folders below `prefix`.

    Args:
        after: a key, or a prefix that ends in the delimiter, behind which the listing begins.
        only_first: end with the first page, without a prefetch.
        transfers: of the same bucket and retry, when several listings share their connections.

    Raises:
        RetriesExhausted: transient errors outlasted the retries.
        AccessError: the credentials are refused, or there is no such bucket.
    """
    behind_prefix = bool(delimiter) and after.endswith(delimiter)
    query = {"list-type": "2", "encoding-type": "url", "prefix": prefix, "delimiter": delimiter}
    query["max-keys"] = str(max_keys)
    if after:
        query["start-after"] = after + HIGHEST if behind_prefix else after
    what = f"listing {prefix or 'the bucket'}"
    read = partial(_read_page, Order(after if behind_prefix else ""))
    shared = nullcontext(transfers) if transfers else None
    with shared or closing(bucket.open_transfers(workers=1, max_bytes=0, retry=retry)) as running:
        submitted = running.submit_listing(urlencode(query), what, _PAGE_BYTES, read)
        while True:
            page: Page = running.take(submitted)
            running.release(submitted)
            if page.token and not only_first:
                query["continuation-token"] = page.token
                submitted = running.submit_listing(urlencode(query), what, _PAGE_BYTES, read)
            yield page
            if only_first or not page.token:
                return


def first_page(bucket: Bucket, prefix: str, retry: Retry, delimiter: str = "", **options: Any) -> Page:
    """Return the first page of `list_pages`, with the same options."""
    with closing(list_pages(bucket, prefix, retry, delimiter, only_first=True, **options)) as listing:
        return next(listing)


def check_access(bucket: Bucket, prefix: str) -> None:
    """List one name. A wrong endpoint raises RetriesExhausted, wrong credentials AccessError."""
    first_page(bucket, prefix, FIRST_REQUEST, max_keys=1)


def _read_page(order: Order, body: bytes, served: datetime | None) -> Page | TransientError:
    try:
        page = _parse(body, served)
    except (ET.ParseError, ValueError, LookupError):  # e.g. a proxy's HTML
        return request_failed("no valid listing")
    prefixes = order.follow(page.prefixes)
    if prefixes is None:
        return request_failed("the names of the listing are not in order")
    return replace(page, prefixes=prefixes)


def _parse(body: bytes, served: datetime | None) -> Page:
    root = ET.fromstring(body)
    if not root.tag.endswith(_ROOT):
        raise ValueError(root.tag)
    namespace = root.tag.removesuffix(_ROOT)  # the wildcard `{*}` takes ten times as long
    contents = root.findall(f"{namespace}Contents")
    prefixes = [element[0].text or "" for element in root.findall(f"{namespace}CommonPrefixes")]
    last_key = [contents[-1].findtext(f"{namespace}Key") or ""] if contents else []
    if root.findtext(f"{namespace}EncodingType") == "url":
        prefixes, last_key = [[unquote_plus(name) for name in names] for names in (prefixes, last_key)]
    written = [datetime.fromisoformat(item.findtext(f"{namespace}LastModified") or "") for item in contents]
    is_last = root.findtext(f"{namespace}IsTruncated") == "false"
    token = None if is_last else root.findtext(f"{namespace}NextContinuationToken")
    if not (is_last or token):
        raise ValueError("no token")
    return Page(prefixes, written, max([*prefixes[-1:], *last_key], default=""), token, served)
