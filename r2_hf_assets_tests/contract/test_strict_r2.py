"""What R2 refuses: the stand-in refuses it to a client that sends it, and the product does not send it."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import obstore
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from r2_hf_assets import retry
from r2_hf_assets.bucket.client import object_store
from r2_hf_assets.bucket.fetch import fetch_in_order
from r2_hf_assets.bucket.pages import check_access
from r2_hf_assets.bucket.response import Fetched
from r2_hf_assets.bucket.transfers import Bucket
from r2_hf_assets.errors import AccessError, R2HfError
from r2_hf_assets.plan.files import StateFiles
from r2_hf_assets.settings import BucketSettings
from r2_hf_assets_tests.contract.places import settings_of
from r2_hf_sandbox import S3Server
from r2_hf_sandbox.s3.faults import S3Fault
from r2_hf_sandbox.s3.r2 import PART_BYTES, StrictR2

_numbers = itertools.count()


def too_many(path_regex: str, **options: Any) -> S3Fault:
    return S3Fault(path_regex, status=429, code="TooManyRequests", **options)


@pytest.fixture
def strict(s3: S3Server) -> Iterator[StrictR2]:
    with StrictR2(s3.endpoint_url, s3.access_key) as running:
        yield running


@pytest.fixture
def r2(s3: S3Server, strict: StrictR2, bucket: str) -> BucketSettings:
    return settings_of(s3, bucket, strict.endpoint_url)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits of the product's own retries, which are not waited for."""
    waits: list[float] = []
    monkeypatch.setattr(retry, "DEFAULT", retry.Retry(attempts=3, sleep=waits.append))
    return waits


def client(r2: BucketSettings, region: str = "auto", **options: str):
    return boto3.client(
        "s3",
        endpoint_url=r2.endpoint_url,
        aws_access_key_id=r2.access_key_id,
        aws_secret_access_key=r2.secret_access_key,
        region_name=region,
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, **options),
    )


def upload(r2: BucketSettings, *sizes: int) -> None:
    """Upload an object in parts of these sizes."""
    s3, key = client(r2, request_checksum_calculation="when_required"), f"parts-{next(_numbers)}"
    upload_id = s3.create_multipart_upload(Bucket=r2.name, Key=key)["UploadId"]
    where = {"Bucket": r2.name, "Key": key, "UploadId": upload_id}
    parts = []
    for number, size in enumerate(sizes, 1):
        part = s3.upload_part(**where, PartNumber=number, Body=b"x" * size)
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})


def refused(error: pytest.ExceptionInfo[ClientError]) -> tuple[int, str]:
    response = error.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def read_state(r2: BucketSettings) -> bytes | None:
    return StateFiles(object_store(r2), retry.ONCE).read("plan.json")


@pytest.mark.parametrize("region", ["auto", "us-east-1", "weur"])
def test_r2s_regions_are_accepted(r2: BucketSettings, region: str) -> None:
    there = replace(r2, region=region)
    check_access(Bucket(there), "")
    obstore.put(object_store(there), "key", b"1")


def test_another_region_is_one_line_that_names_the_setting(r2: BucketSettings) -> None:
    there = replace(r2, region="eu-central-1")
    for call in (
        lambda: check_access(Bucket(there), ""),
        lambda: StateFiles(object_store(there), retry.ONCE).read("a"),
    ):
        with pytest.raises(AccessError, match=r"set R2_REGION \(auto for R2\)$"):
            call()


@pytest.mark.parametrize(
    ("key_id", "advice"), [("short", "R2's have 32 characters"), ("0" * 32, "check R2_ACCESS_KEY_ID and R2_SECRET_ACC")]
)
def test_another_key_is_one_line(r2: BucketSettings, key_id: str, advice: str) -> None:
    other = replace(r2, access_key_id=key_id)
    for call in (
        lambda: check_access(Bucket(other), ""),
        lambda: StateFiles(object_store(other), retry.ONCE).read("a"),
    ):
        with pytest.raises(AccessError, match=advice):
            call()


def test_boto3s_checksums_are_refused_unless_they_are_turned_off(
    r2: BucketSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ClientError) as error:
        client(r2).put_object(Bucket=r2.name, Key="logs/1", Body=b"1")
    assert refused(error) == (501, "NotImplemented")
    # As cluster.env.example sets them, for the compute logs.
    for name in ("AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION"):
        monkeypatch.setenv(name, "when_required")
    client(r2).put_object(Bucket=r2.name, Key="logs/2", Body=b"1")


def test_a_checksum_in_a_trailer_is_refused(r2: BucketSettings) -> None:
    s3 = client(r2, request_checksum_calculation="when_required")
    s3.meta.events.register("before-send.s3.PutObject", _send_trailer)
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=r2.name, Key="key", Body=b"1")
    assert refused(error) == (401, "Unauthorized")


def _send_trailer(request, **_: object) -> None:
    request.headers["X-Amz-Content-SHA256"] = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


def test_parts_are_equal_but_for_the_last(r2: BucketSettings) -> None:
    upload(r2, PART_BYTES, PART_BYTES, 1)
    upload(r2, 1)
    for sizes, code in {
        (PART_BYTES, PART_BYTES + 1, 1): "InvalidPart",
        (PART_BYTES, PART_BYTES + 1): "InvalidPart",
        (PART_BYTES - 1, PART_BYTES - 1): "EntityTooSmall",
    }.items():
        with pytest.raises(ClientError) as error:
            upload(r2, *sizes)
        assert refused(error) == (400, code), sizes


def test_a_key_is_written_once_a_second(r2: BucketSettings) -> None:
    s3 = client(r2, request_checksum_calculation="when_required")
    s3.put_object(Bucket=r2.name, Key="index.json", Body=b"1")
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=r2.name, Key="index.json", Body=b"2")
    assert refused(error) == (429, "TooManyRequests")
    files = StateFiles(object_store(r2), retry.DEFAULT)
    for data in (b"3", b"4"):
        files.overwrite("index.json", data)
    assert files.read("index.json") == b"4"


def test_a_key_of_more_than_1024_bytes_is_refused(r2: BucketSettings) -> None:
    with pytest.raises(ClientError) as error:
        client(r2).get_object(Bucket=r2.name, Key="k" * 1025)
    assert refused(error) == (400, "InvalidObjectName")


def test_429_without_retry_after_is_retried_with_backoff(
    r2: BucketSettings, strict: StrictR2, waits: list[float]
) -> None:
    files = StateFiles(object_store(r2), retry.default_retry())
    files.overwrite("e1.json", b"[]")
    strict.inject(too_many("e1.json", times=2))
    assert fetch(r2, "e1.json") == b"[]"
    strict.inject(too_many("list-type=2", times=2))
    check_access(Bucket(r2), "")
    strict.inject(too_many("plan.json", times=2, method="PUT"))
    assert files.create("plan.json", b"{}") is True
    assert strict.count("plan.json", "PUT") == 3


def test_429_with_retry_after_is_waited_for(
    r2: BucketSettings, strict: StrictR2, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    real = retry.RetryState.next_wait

    def next_wait(*arguments: Any) -> float:
        waits.append(real(*arguments))
        return waits[-1]

    monkeypatch.setattr(retry.RetryState, "next_wait", next_wait)
    StateFiles(object_store(r2), retry.DEFAULT).overwrite("e1.json", b"[]")
    strict.inject(too_many("e1.json", times=2, headers={"Retry-After": "1"}))
    assert fetch(r2, "e1.json") == b"[]"
    assert waits == [1.0, 1.0]  # the backoff would be shorter


def test_429_for_ever_is_one_line(r2: BucketSettings, strict: StrictR2, waits: list[float]) -> None:
    strict.inject(too_many("state/", times=10**6))
    files = StateFiles(object_store(r2, prefix="state"), retry.default_retry())
    with pytest.raises(R2HfError, match=r"HTTP 429 TooManyRequests.*a later run will try again$"):
        files.overwrite("plan.json", b"{}")
    assert len(waits) == 2


def fetch(r2: BucketSettings, key: str) -> bytes:
    ((_, got),) = fetch_in_order([key], str, Bucket(r2), workers=1, max_bytes=1, limit=9, retry=retry.DEFAULT)
    assert isinstance(got, Fetched)
    return got.body()
