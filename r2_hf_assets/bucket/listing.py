"""Which episodes lie in the bucket: folders, listed with a delimiter, never every object.

A listing of 1,000 folders is one class A request, so a million episodes cost 1,000 requests, whatever they hold.
Folders are read language by language in the bucket's own (byte) order: that order becomes plan order.

Names with control characters, and `.`, `..` and empty names, are given to `unreadable`: obstore can't put such a key
into a request, and libcurl takes dots for a path.

A listing is whole or nothing. Who has little time takes `episode_pages`: page by page, and from its middle.
"""

import re
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from r2_hf_assets.bucket.client import Store, classify_boto
from r2_hf_assets.bucket.pages import pages
from r2_hf_assets.languages import normalize
from r2_hf_assets.retry import Retry

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Two cores' worth of XML, and a server that answers them side by side; names wait in memory until their turn.
_FOLDERS_AT_ONCE = 4

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
    return _folders(store, f"{prefix}{folder.name}/", retry, unreadable)


def episodes_of(
    store: Store, prefix: str, folders: Iterable[LanguageFolder], retry: Retry, unreadable: Unreadable = _unheeded
) -> Generator[list[str], None, None]:
    """What `episode_ids` finds in each of the folders, in their order; a few are listed side by side."""
    pool = ThreadPoolExecutor(_FOLDERS_AT_ONCE, thread_name_prefix="listing")
    try:
        listed: deque[Future[list[str]]] = deque()
        for folder in folders:
            listed.append(pool.submit(episode_ids, store, prefix, folder, retry, unreadable))
            if len(listed) > _FOLDERS_AT_ONCE:
                yield listed.popleft().result()
        while listed:
            yield listed.popleft().result()
    finally:
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


def newest_object(store: Store, prefix: str, retry: Retry) -> datetime | None:
    """When anything was last written below `prefix`; None when nothing is there."""
    return max((stamp for page in pages(store, prefix, retry) for stamp in page.written), default=None)


def _folders(store: Store, prefix: str, retry: Retry, unreadable: Unreadable) -> list[str]:
    names = []
    for page in pages(store, prefix, retry, delimiter="/"):
        for below in page.prefixes:
            name = below[len(prefix) : -1]
            if _can_be_asked_for(name):
                names.append(name)
            else:
                unreadable(below)
    return names


def _can_be_asked_for(name: str) -> bool:
    """Whether this may be a part of a key that is asked for."""
    return name not in ("", ".", "..") and not _CONTROL.search(name)
