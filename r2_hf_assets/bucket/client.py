"""Clients for the bucket: obstore for the bytes, boto3 for a handful of calls.

Written for R2's dialect: region `auto`, path-style addresses, no checksum trailers (boto3 >= 1.36 adds one to every
write, which R2 refuses with a misleading `Unauthorized`). obstore's sync calls release the GIL and are made from
threads: its async calls abort the interpreter at exit now and then.
"""

from datetime import timedelta
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from obstore.exceptions import GenericError, NotFoundError, PermissionDeniedError, UnauthenticatedError
from obstore.store import LocalStore, S3Store

from r2_hf_assets.errors import AccessError, SettingsError
from r2_hf_assets.retry import Trouble
from r2_hf_assets.settings import BucketSettings

Store: TypeAlias = S3Store | LocalStore

# What obstore raises for an object that does not exist: the builtin, and its own class where a release still uses that.
NOT_FOUND = (FileNotFoundError, NotFoundError)
# ... and for credentials that are refused (401, 403).
DENIED = (PermissionError, PermissionDeniedError, UnauthenticatedError)

# A first retry soon, then patience: object_store's own layer rides out bursts, Retry outside it the longer storms.
_RETRIES = {"max_retries": 6, "retry_timeout": timedelta(seconds=60)}


def object_store(r2: BucketSettings, bucket: str | None = None, prefix: str = "") -> S3Store:
    """An obstore client for `bucket` (the episodes' bucket when None), below `prefix`. Makes no request."""
    return S3Store(
        bucket or r2.name,
        prefix=prefix or None,
        endpoint=r2.endpoint_url,
        access_key_id=r2.access_key_id,
        secret_access_key=r2.secret_access_key,
        region="auto",
        virtual_hosted_style_request=False,
        client_options={
            "allow_http": r2.endpoint_url.startswith("http://"),
            "connect_timeout": timedelta(seconds=10),
            # A stalled body is noticed; a large one that flows may take as long as it needs.
            "read_timeout": timedelta(seconds=30),
            "timeout": timedelta(minutes=30),
            "pool_max_idle_per_host": str(r2.workers),
        },
        retry_config=_RETRIES,
    )


def open_store(url: str, r2: BucketSettings | None) -> Store:
    """The store behind STATE_URL or SHARD_URL: s3://bucket/prefix (with the R2 credentials) or a local folder."""
    parts = urlsplit(url)
    if parts.scheme != "s3":
        return LocalStore(url, mkdir=True, automatic_cleanup=False)
    if r2 is None:
        raise SettingsError(f"settings: {url} needs R2_ENDPOINT_URL, R2_ACCESS_KEY_ID and R2_SECRET_ACCESS_KEY")
    return object_store(r2, bucket=parts.netloc, prefix=parts.path.strip("/"))


def s3_client(r2: BucketSettings) -> Any:
    """A boto3 S3 client that R2 accepts."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=r2.endpoint_url,
        aws_access_key_id=r2.access_key_id,
        aws_secret_access_key=r2.secret_access_key,
        region_name="auto",
        config=Config(
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            retries={"mode": "standard", "max_attempts": 5},
            s3={"addressing_style": "path"},
        ),
    )


# S3 error codes that a user can do something about, and what.
_ADVICE = {
    "NoSuchBucket": "there is no such bucket; check R2_BUCKET",
    "InvalidAccessKeyId": "the access key is unknown; check R2_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "the secret does not fit the access key; check R2_SECRET_ACCESS_KEY",
    "AccessDenied": "the token may not list this bucket; give it Object Read permission",
    "Unauthorized": "the token is refused; check R2_ACCESS_KEY_ID and R2_SECRET_ACCESS_KEY",
    "RequestTimeTooSkewed": "this machine's clock is wrong; set it",
}


def check_access(client: Any, bucket: str, prefix: str) -> None:
    """Make one cheap listing call, so that wrong credentials are answered in one line before any work.

    Raises:
        AccessError: the bucket can't be listed; says what to set.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        advice = _ADVICE.get(code, f"the server answers {code or 'an error'}")
        raise AccessError(f"bucket {bucket!r} can't be read: {advice}") from None
    except BotoCoreError as error:
        raise AccessError(
            f"bucket {bucket!r} can't be reached ({type(error).__name__}); check R2_ENDPOINT_URL"
        ) from None


def classify(error: BaseException) -> Trouble | None:
    """Which obstore errors may pass: all that are not an answer about the object, the key or the credentials.

    object_store gives its GenericError for 5xx, 429, timeouts, resets and bodies that end early.
    """
    if isinstance(error, GenericError):
        return Trouble("the bucket does not answer properly")
    if isinstance(error, ShortBody):
        return Trouble("the body ended early")
    return None


class ShortBody(Exception):
    """Fewer bytes came than the answer announced."""
