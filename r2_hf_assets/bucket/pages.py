"""List a bucket page by page with ListObjectsV2: up to 1,000 names a request, each one class A operation.

Names are requested URL-encoded, because XML can't hold control characters. The next page is prefetched before one is
yielded, so the server works while its names are read. A page that fails is requested again, not the whole listing.
"""

import xml.etree.ElementTree as ET
from collections.abc import Generator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import groupby
from operator import lt
from typing import Any
from urllib.parse import unquote_plus, urlencode

from r2_hf_assets.bucket.s3_errors import improper_response
from r2_hf_assets.bucket.transfers import Bucket, Transfers
from r2_hf_assets.retry import FIRST_REQUEST, Retry, TransientError

_ROOT = "ListBucketResult"
# A page of 1,000 names takes 4 MB when each is a key of 1,024 bytes, URL-encoded.
_PAGE_BYTES = 8 * 2**20
# Sorts behind every other text that begins alike; XML can hold it.
HIGHEST = "\U0010fffd"


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a listing."""

    prefixes: list[str]  # keys up to the delimiter, in order
    written: list[datetime]  # when each object without a delimiter in its key was last written
    end: str = ""  # the last prefix or key, behind which a later listing continues
    token: str | None = field(default=None, repr=False)  # where the server continues; None for the last page
    served: datetime | None = field(default=None, compare=False)  # by the clock of `written`; None without a Date


class Order:
    """Check that each prefix of a listing follows the one before, across its pages.

    S3 and R2 list by whole key, so `a-b/` comes before `a/`. Servers that keep real folders (SeaweedFS) list by their
    name, `a` before `a-b`. A listing must keep to one of the two orders. Some servers repeat the last common
    prefix of a page as the first of the next one.

    Args:
        last: the prefix behind which the listing begins; "" for its beginning.
    """

    def __init__(self, last: str = "") -> None:
        self._last = last
        self._by_key = self._by_name = True

    def follow(self, prefixes: Sequence[str]) -> list[str] | None:
        """Return the prefixes without repeats; None, and no change, when they are not in order."""
        kept = [prefix for prefix, _ in groupby([self._last, *prefixes])]
        by_key = self._by_key and _ascending(kept)
        by_name = self._by_name and _ascending([prefix[:-1] for prefix in kept])
        if not (by_key or by_name):
            return None
        self._by_key, self._by_name, self._last = by_key, by_name, kept[-1]
        return kept[1:]


def _ascending(texts: Sequence[str]) -> bool:
    return all(map(lt, texts, texts[1:]))


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
    """List what lies below `prefix`.

    Args:
        after: a key, or a prefix that ends in the delimiter; only what comes behind it is listed.
        max_keys: names of a page.
        only_first: end with the first page, and prefetch no other.
        transfers: of the same bucket and retry, when several listings share their connections.

    Raises:
        RetriesExhausted: transient errors outlasted the retries.
        AccessError: the credentials are refused, or there is no such bucket.
    """
    behind_prefix = bool(delimiter) and after.endswith(delimiter)
    query = {
        "list-type": "2",
        "encoding-type": "url",
        "prefix": prefix,
        "delimiter": delimiter,
        "max-keys": str(max_keys),
    }
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
    """Request the first page of `pages`, which takes the same options."""
    with closing(list_pages(bucket, prefix, retry, delimiter, only_first=True, **options)) as listing:
        return next(listing)


def check_access(bucket: Bucket, prefix: str) -> None:
    """List one name. A wrong endpoint raises RetriesExhausted, wrong credentials AccessError, each a line."""
    first_page(bucket, prefix, FIRST_REQUEST, max_keys=1)


def _read_page(order: Order, body: bytes, served: datetime | None) -> Page | TransientError:
    """Parse a page; a transient error for what is no listing, or continues and does not tell where."""
    try:
        page = _parse(body, served)
    except (ET.ParseError, ValueError, LookupError):  # of a proxy's page, say
        return improper_response("no listing in its body")
    prefixes = order.follow(page.prefixes)
    if prefixes is None:
        return improper_response("the names of its listing are not in order")
    return replace(page, prefixes=prefixes)


def _parse(body: bytes, served: datetime | None) -> Page:
    root = ET.fromstring(body)
    if not root.tag.endswith(_ROOT):
        raise ValueError(root.tag)
    namespace = root.tag.removesuffix(_ROOT)  # ElementTree's `{*}` takes ten times as long
    contents = root.findall(f"{namespace}Contents")
    prefixes = [found[0].text or "" for found in root.findall(f"{namespace}CommonPrefixes")]
    last_key = [contents[-1].findtext(f"{namespace}Key") or ""] if contents else []
    if root.findtext(f"{namespace}EncodingType") == "url":
        prefixes, last_key = [[unquote_plus(name) for name in names] for names in (prefixes, last_key)]
    written = [datetime.fromisoformat(found.findtext(f"{namespace}LastModified") or "") for found in contents]
    is_last = root.findtext(f"{namespace}IsTruncated") == "false"
    token = None if is_last else root.findtext(f"{namespace}NextContinuationToken")
    if not (is_last or token):
        raise ValueError("no token")
    return Page(prefixes, written, max([*prefixes[-1:], *last_key], default=""), token, served)
