"""Which episodes lie in the bucket: folders, listed with a delimiter, never every object.

A listing of 1,000 folders is one class A request, so a million episodes cost 1,000 requests, whatever they hold.
Folders are read language by language in the bucket's own (byte) order: that order becomes plan order.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import obstore

from r2_hf_assets.bucket.client import Store, classify
from r2_hf_assets.languages import normalize
from r2_hf_assets.retry import Retry


@dataclass(frozen=True)
class LanguageFolder:
    """A folder below the processed prefix, e.g. "en-US", and the language it is planned under."""

    name: str
    language: str


def language_folders(store: Store, prefix: str, retry: Retry) -> list[LanguageFolder]:
    """The folders right below `prefix`, in byte order."""
    return [LanguageFolder(name, normalize(name)) for name in _folders(store, prefix, retry)]


def episode_ids(store: Store, prefix: str, folder: LanguageFolder, retry: Retry) -> Iterator[str]:
    """The episode folders below one language folder, in byte order."""
    yield from _folders(store, f"{prefix}{folder.name}/", retry)


def _folders(store: Store, prefix: str, retry: Retry) -> list[str]:
    # Listing is read-only: repeating it breaks nothing.
    found = retry.call(
        f"listing {prefix or 'the bucket'}", lambda: obstore.list_with_delimiter(store, prefix or None), classify
    )
    return [path.rstrip("/").rsplit("/", 1)[-1] for path in found["common_prefixes"]]
