"""obstore, for the plan and for build records on S3. (Episodes are listed and fetched by libcurl, with the same
settings: pages.py, transfers.py.)

Written for R2's dialect, which any S3 understands: path-style addresses, no checksum trailers. obstore's sync calls
release the GIL and are made from threads: its async calls abort the interpreter at exit now and then.

`ask` is how obstore is called. Its calls can't be interrupted, so the main thread, which Ctrl-C interrupts, leaves them
to another one. Trouble that may pass is repeated; a refusal is one line. A folder in the place of a bucket answers like
one, but what its disk does wrong is never waited for.
"""

import re
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias, TypeVar
from urllib.parse import urlsplit

from obstore.exceptions import GenericError, NotFoundError, PermissionDeniedError, UnauthenticatedError
from obstore.store import LocalStore, S3Store

from r2_hf_assets.background import in_background
from r2_hf_assets.bucket import answers
from r2_hf_assets.disk import on_disk
from r2_hf_assets.errors import AccessError, SettingsError
from r2_hf_assets.retry import OBSTORE_RETRIES, Retry, Trouble
from r2_hf_assets.settings import BucketSettings, ca_bundle

T = TypeVar("T")
Store: TypeAlias = S3Store | LocalStore

# What obstore raises for an object that does not exist: the builtin, and its own class where a release still uses that.
NOT_FOUND = (FileNotFoundError, NotFoundError)
# ... and for credentials that are refused (401, 403).
DENIED = (PermissionError, PermissionDeniedError, UnauthenticatedError)

_MAX_KEY_BYTES = 1024  # S3's limit, and R2's

CONNECT_TIMEOUT_S = 10
# A stalled body is noticed; a large one that flows may take as long as it needs.
READ_TIMEOUT_S = 30


def object_store(r2: BucketSettings, bucket: str | None = None, prefix: str = "") -> S3Store:
    """An obstore client for `bucket` (the episodes' bucket when None), below `prefix`. Makes no request.

    Raises:
        SettingsError: the certificate authorities that the user names can't be read.
    """
    plain_http, bundle = r2.endpoint_url.startswith("http://"), ca_bundle()
    try:
        return S3Store(
            bucket or r2.name,
            prefix=prefix or None,
            endpoint=r2.endpoint_url,
            access_key_id=r2.access_key_id,
            secret_access_key=r2.secret_access_key,
            **({"session_token": r2.session_token} if r2.session_token else {}),
            region=r2.region,
            virtual_hosted_style_request=False,
            client_options={
                "allow_http": plain_http,
                # Trusted besides the system's: obstore can't be told to trust no others.
                **({} if plain_http else {"root_certificate": Path(bundle).read_bytes()}),
                "connect_timeout": timedelta(seconds=CONNECT_TIMEOUT_S),
                "read_timeout": timedelta(seconds=READ_TIMEOUT_S),
                "timeout": timedelta(minutes=30),
                "pool_max_idle_per_host": str(r2.workers),
            },
            retry_config=OBSTORE_RETRIES,
        )
    except (ValueError, GenericError):
        raise SettingsError(f"settings: obstore can't read the certificates in {bundle}; name another file") from None


def open_store(url: str, r2: BucketSettings | None) -> Store:
    """The store behind STATE_URL: s3://bucket/prefix (with the R2 credentials) or a local folder.

    Raises:
        DiskError: the folder can't be made.
        SettingsError: the credentials are missing.
    """
    parts = urlsplit(url)
    if parts.scheme != "s3":
        with on_disk(Path(url).absolute()):
            return LocalStore(url, mkdir=True, automatic_cleanup=False)
    if r2 is None:
        raise SettingsError(f"settings: {url} needs R2_ENDPOINT_URL, R2_ACCESS_KEY_ID and R2_SECRET_ACCESS_KEY")
    return object_store(r2, bucket=parts.netloc, prefix=parts.path.strip("/"))


_DISK = "Generic LocalFileSystem error"  # what a folder can't do is a GenericError, too


def ask(retry: Retry, what: str, function: Callable[[], T], store: Store | None = None) -> T:
    """Call obstore, repeating passing trouble. `function` must be repeatable.

    Args:
        store: what is asked, when that may be a folder.

    Raises:
        DiskError: the folder can't be written or read.
        FileNotFoundError, NotFoundError (NOT_FOUND): there is no such object.
        AccessError: the credentials are refused, or there is no such bucket.
        GaveUp: passing trouble outlasted the retries.
    """
    folder = folder_of(store)
    try:
        with on_disk(folder):
            if folder:
                folder.stat()  # obstore would make one anew that was removed, and find it empty
            call = function if folder or not _is_main() else lambda: in_background(function)
            return retry.call(what, call, classify)
    except (*NOT_FOUND, *DENIED, GenericError) as error:
        refused = answers.refusal(*_answer(error))
        if refused is None and isinstance(error, DENIED):
            refused = answers.REFUSED
        if refused:
            raise AccessError(f"{what}: {refused}") from None
        raise


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()


def can_exist(key: str) -> bool:
    """Whether an object may have this key. S3 answers 400 to a longer one, which would look like trouble."""
    return len(key.encode()) <= _MAX_KEY_BYTES


def folder_of(store: Store | None) -> Path | None:
    """Where a local store lies; None when it is on S3."""
    return Path(store.prefix).absolute() if isinstance(store, LocalStore) and store.prefix else None


def classify(error: BaseException) -> Trouble | None:
    """Which obstore errors may pass: all that are not a disk's, and no answer about the object, the key or the
    credentials.

    object_store gives its GenericError for 5xx, 429, timeouts, resets and bodies that end early.
    """
    status, code = _answer(error)
    if code == answers.SKEWED:
        return answers.CLOCK
    if isinstance(error, NOT_FOUND):
        final = not status or answers.missing(status, code)
    else:
        final = not isinstance(error, GenericError) or str(error).startswith(_DISK)
    if final or answers.refusal(status, code):
        return None
    return answers.passing(status, code) if status else answers.no_proper_answer(_transport(error))


def _answer(error: BaseException) -> tuple[int, str]:
    """HTTP status and S3 error code of the answer that obstore quotes in its error; 0 and "" where there was none."""
    quoted = re.search(r"status code: (\d{3})\b(?:[^<]*<\?xml[^>]*>\s*<Error>.*?<Code>(\w+)</Code>)?", str(error), re.S)
    return (int(quoted[1]), quoted[2] or "") if quoted else (0, "")


def _transport(error: BaseException) -> str:
    """What broke, in words; only for people."""
    if "InvalidCertificate" in str(error):
        return answers.UNTRUSTED
    kind = re.search(r"\bkind: (Connect|Timeout|Interrupted)\b", str(error))
    words = {"Connect": "no connection", "Timeout": "silence", "Interrupted": "the connection broke"}
    return words[kind[1]] if kind else _first_line(error)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0].rpartition(" - ")[2][:200]
