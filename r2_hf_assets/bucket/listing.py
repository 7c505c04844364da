"""Which episodes lie in the bucket: folders, listed with a delimiter, never every object.

A listing of 1,000 folders is one class A request, so a million episodes cost 1,000 requests, whatever they hold.
Folders are read language by language in the bucket's own (byte) order: that order becomes plan order.

obstore refuses names with control characters, and `.`, `..` and empty names, and one of them fails its whole listing;
a control character that XML can't hold reaches it as U+FFFD, so as another name. Such a listing is made once more with
boto3, which has names sent URL-encoded: what obstore can ask for is kept, the other names are given to `unreadable`.

A listing by obstore is whole or nothing. Who has little time takes `episode_pages`: page by page, and from its middle.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import obstore
from obstore.exceptions import InvalidPathError
from obstore.store import S3Store

from r2_hf_assets.bucket.client import Store, ask, classify_boto, s3_client
from r2_hf_assets.languages import normalize
from r2_hf_assets.retry import Retry
from r2_hf_assets.settings import BucketSettings

_DELETE = "\x7f"

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
) -> Iterator[str]:
    """The episode folders below one language folder, in byte order."""
    yield from _folders(store, f"{prefix}{folder.name}/", retry, unreadable)


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
    try:
        stamps = ask(
            retry,
            f"listing {prefix}",
            lambda: [o["last_modified"] for batch in obstore.list(store, prefix) for o in batch],
        )
    except InvalidPathError:
        pages = _plain_listing(store, prefix, retry)
        stamps = [item["LastModified"] for page in pages for item in page.get("Contents", ())]
    return max(stamps, default=None)


def _folders(store: Store, prefix: str, retry: Retry, unreadable: Unreadable) -> list[str]:
    try:
        # Listing is read-only: repeating it breaks nothing.
        found = ask(
            retry,
            f"listing {prefix or 'the bucket'}",
            lambda: obstore.list_with_delimiter(store, prefix or None),
        )
        names = [path.rstrip("/").rsplit("/", 1)[-1] for path in found["common_prefixes"]]
        if not any("\ufffd" in name for name in names) or not isinstance(store, S3Store):
            return names
    except InvalidPathError:
        pass
    names = []
    for page in _plain_listing(store, prefix, retry, Delimiter="/"):
        for below in page.get("CommonPrefixes", ()):
            name = below["Prefix"].removeprefix(prefix).removesuffix("/")
            if _can_be_asked_for(name):
                names.append(name)
            else:
                unreadable(below["Prefix"])
    return names


def _can_be_asked_for(name: str) -> bool:
    """Whether obstore takes this as a part of a key."""
    return name not in ("", ".", "..") and all(letter >= " " and letter != _DELETE for letter in name)


def _plain_listing(store: Store, prefix: str, retry: Retry, **options: str) -> list[dict]:
    """Pages of ListObjectsV2 by boto3, from the bucket and with the keys of an obstore client."""
    if not isinstance(store, S3Store):
        raise TypeError(f"a listing of {type(store).__name__} has no keys that obstore refuses")
    config = store.config
    keys = config["access_key_id"], config["secret_access_key"]
    client = s3_client(BucketSettings(str(config["endpoint"]), *keys, config["bucket"]))
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=config["bucket"], Prefix=prefix, **options)
    return retry.call(f"listing {prefix or 'the bucket'}", lambda: list(pages), classify_boto)
