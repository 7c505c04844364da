"""ListObjectsV2, page by page, by libcurl: up to 1,000 names a request, each one class A operation.

Names come URL-encoded, because XML has no way to write a control character. The next page is asked for before one is
handed out, so the server works while its names are read. A page is repeated when it fails, not the listing.
"""

import xml.etree.ElementTree as ET
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import unquote_plus, urlencode

from obstore.store import S3Store

from r2_hf_assets.bucket import answers
from r2_hf_assets.bucket.judge import Fetched
from r2_hf_assets.bucket.transfers import Transfers
from r2_hf_assets.retry import Retry, Tries

_ROOT = "ListBucketResult"
_NO_BOUND = 2**40  # a page is as large as it is, and there is one at a time


@dataclass(frozen=True, slots=True)
class Page:
    """Key prefixes up to the delimiter, in byte order; when each object without one was last written; is there more?

    `served` is the time by the clock that `written` goes by.
    """

    prefixes: list[str]
    written: list[datetime]
    more: bool = False
    served: datetime = field(default_factory=lambda: datetime.now(UTC), compare=False)


def pages(
    store: S3Store, prefix: str, retry: Retry, delimiter: str = "", *, after: str = "", most: int = 1000
) -> Generator[Page, None, None]:
    """List what lies below `prefix`.

    Args:
        after: a key; only what stands behind it.
        most: names of a page. For 1 it ends with the first page: that one name was the question.

    Raises:
        GaveUp: passing trouble outlasted the retries.
        AccessError: the credentials were refused, or there is no such bucket.
    """
    query = {"list-type": "2", "encoding-type": "url", "prefix": prefix, "delimiter": delimiter, "max-keys": str(most)}
    query |= {"start-after": after} if after else {}
    what = f"listing {prefix or 'the bucket'}"
    with closing(Transfers(store, workers=1, max_bytes=_NO_BOUND, retry=retry)) as transfers:
        tries = Tries(retry, what)
        asked = transfers.ask_listing(urlencode(query), what)
        while True:
            found = transfers.take(asked)
            transfers.leave(asked)
            listing = _listing(found.body()) if isinstance(found, Fetched) else None
            if listing is None or not isinstance(found, Fetched):  # a proxy's page, say
                retry.sleep(tries.wait_after(answers.no_proper_answer("no listing in its body")))
                asked = transfers.ask_listing(urlencode(query), what)
                continue
            token = _token(listing) if most > 1 else None
            if token:
                tries, query = Tries(retry, what), {**query, "continuation-token": token}
                asked = transfers.ask_listing(urlencode(query), what)
            yield _page(listing, found.served)
            if not token:
                return


def _listing(body: bytes) -> ET.Element | None:
    """None for what is no listing, or one that goes on and does not say where."""
    try:
        root = ET.fromstring(body)
    except ET.ParseError:
        return None
    whole = _text(root, "IsTruncated") == "false" or _token(root)
    return root if root.tag.endswith(_ROOT) and whole else None


def _token(listing: ET.Element) -> str | None:
    """Where the next page begins; None after the last."""
    return _text(listing, "NextContinuationToken") if _text(listing, "IsTruncated") == "true" else None


def _text(listing: ET.Element, name: str) -> str | None:
    return listing.findtext(_named(listing, name))


def _named(listing: ET.Element, name: str) -> str:
    """The name in the listing's namespace. (ElementTree's `{*}` takes ten times as long.)"""
    return listing.tag.removesuffix(_ROOT) + name


def _page(listing: ET.Element, served: datetime) -> Page:
    prefixes = [folder[0].text or "" for folder in listing.findall(_named(listing, "CommonPrefixes"))]
    if _text(listing, "EncodingType") == "url":
        prefixes = [unquote_plus(prefix) for prefix in prefixes]
    last_modified = _named(listing, "LastModified")
    written = [
        datetime.fromisoformat(found.findtext(last_modified) or "")
        for found in listing.findall(_named(listing, "Contents"))
    ]
    return Page(prefixes, written, _token(listing) is not None, served)
