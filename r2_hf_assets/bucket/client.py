"""Make obstore's clients, for the plan and for build records, and call them with retries.

Episodes are listed and fetched by libcurl instead (transfers.py). Clients use path-style addresses and no checksum
trailers, which R2 requires and any S3 accepts. Objects are deleted one by one, because obstore's bulk deletion sends a
checksum. Only obstore's sync calls are used, because its async calls sometimes
abort the interpreter at exit. A local folder can replace a bucket.
"""

import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar
from urllib.parse import urlsplit

from obstore.store import LocalStore, ObjectStore, S3Store

from r2_hf_assets.background import in_background
from r2_hf_assets.bucket.curl import CONNECT_TIMEOUT_S, READ_TIMEOUT_S
from r2_hf_assets.bucket.s3_errors import NOT_FOUND as NOT_FOUND
from r2_hf_assets.bucket.s3_errors import classify_obstore_error
from r2_hf_assets.disk import on_disk
from r2_hf_assets.errors import SettingsError
from r2_hf_assets.retry import OBSTORE_RETRIES, Retry
from r2_hf_assets.settings import BucketSettings, ca_bundle

T = TypeVar("T")
Store: TypeAlias = ObjectStore


def object_store(r2: BucketSettings, bucket: str | None = None, prefix: str = "") -> S3Store:
    """Make an obstore client for `bucket` (None: the episodes' bucket), below `prefix`."""
    # Trusted besides the system's: obstore has no option to trust no others.
    authorities = Path(ca_bundle()).read_bytes()
    plain_http = r2.endpoint_url.startswith("http://")
    try:
        return S3Store(
            bucket or r2.name,
            prefix=prefix or None,
            endpoint=r2.endpoint_url,
            access_key_id=r2.access_key_id,
            secret_access_key=r2.secret_access_key,
            config={"session_token": r2.session_token} if r2.session_token else {},
            region=r2.region,
            virtual_hosted_style_request=False,
            disable_bulk_delete=True,
            client_options={
                "allow_http": plain_http,
                **({} if plain_http else {"root_certificate": authorities}),
                "connect_timeout": timedelta(seconds=CONNECT_TIMEOUT_S),
                "read_timeout": timedelta(seconds=READ_TIMEOUT_S),
                "timeout": timedelta(minutes=30),
            },
            retry_config=OBSTORE_RETRIES,
        )
    except ValueError:  # obstore knows fewer forms of PEM than OpenSSL and libcurl
        raise SettingsError(f"settings: obstore can't read the certificates in {ca_bundle()}") from None


def open_store(url: str, r2: BucketSettings | None) -> Store:
    """Open the store of STATE_URL: s3://bucket/prefix (with the R2 credentials) or a local folder."""
    parts = urlsplit(url)
    if parts.scheme != "s3":
        with on_disk(Path(url).absolute()):
            return LocalStore(url, mkdir=True, automatic_cleanup=False)
    if r2 is None:
        raise SettingsError(f"settings: {url} needs R2_ENDPOINT_URL, R2_ACCESS_KEY_ID and R2_SECRET_ACCESS_KEY")
    return object_store(r2, bucket=parts.netloc, prefix=parts.path.strip("/"))


def call_with_retry(retry: Retry, what: str, function: Callable[[], T], store: Store | None = None) -> T:
    """Call the idempotent `function`, and retry transient errors of a bucket. `what` names the call in errors.

    obstore's calls can't be interrupted by Ctrl-C, so the main thread runs them in another thread. `store` is needed
    where it may be a folder. Raises one of NOT_FOUND when there is no such object, and DiskError for a folder.
    """
    if folder := folder_of(store):
        with on_disk(folder):
            folder.stat()  # obstore would silently recreate a removed folder, empty
            return function()
    in_main = threading.current_thread() is threading.main_thread()
    call = partial(in_background, function) if in_main else function
    return retry.call(what, call, partial(classify_obstore_error, what))


def folder_of(store: Store | None) -> Path | None:
    """Return the folder of a local store; None for a store on S3."""
    return Path(store.prefix).absolute() if isinstance(store, LocalStore) and store.prefix else None
