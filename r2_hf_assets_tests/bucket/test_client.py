"""Clients: R2's dialect, which errors may pass, and refusals answered in one line. No request leaves the machine."""

from dataclasses import replace

import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber
from obstore.exceptions import (
    AlreadyExistsError,
    GenericError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import LocalStore, S3Store

from r2_hf_assets.bucket import client as client_module
from r2_hf_assets.bucket.client import check_access, classify, object_store, open_store, s3_client
from r2_hf_assets.errors import AccessError, GaveUp, SettingsError
from r2_hf_assets.settings import BucketSettings
from r2_hf_assets_tests.build_samples import NO_WAIT

R2 = BucketSettings("https://account.r2.example", "key-id", "secret-to-hide", "podcasts")


def test_trouble_that_may_pass():
    trouble = classify(GenericError("503"))
    assert trouble is not None and trouble.reason


@pytest.mark.parametrize(
    "error",
    [
        NotFoundError("k"),
        PermissionDeniedError("k"),
        UnauthenticatedError("k"),
        AlreadyExistsError("k"),
        ValueError("k"),
    ],
)
def test_answers_about_the_object_or_the_credentials_will_not_pass(error):
    assert classify(error) is None


def test_the_object_store_speaks_r2s_dialect():
    store = object_store(R2, bucket="other", prefix="state")
    assert store.config["region"] == "auto"
    assert store.config["virtual_hosted_style_request"] == "false"
    assert (store.config["bucket"], store.prefix) == ("other", "state")
    assert object_store(R2).config["bucket"] == "podcasts"
    assert "secret-to-hide" not in repr(store)


def test_a_session_token_is_in_no_repr():
    r2 = replace(R2, session_token="token-to-hide")
    store = object_store(r2)
    assert store.config["session_token"] == "token-to-hide"
    assert "token-to-hide" not in f"{store!r} {r2!r} {s3_client(r2)!r}"


def test_the_boto3_client_adds_no_checksum_trailer():
    client = s3_client(R2)
    assert client.meta.config.request_checksum_calculation == "when_required"
    assert client.meta.config.response_checksum_validation == "when_required"
    assert client.meta.region_name == "auto"
    assert client.meta.config.s3["addressing_style"] == "path"


def test_a_url_without_a_scheme_is_a_folder_that_is_made(tmp_path):
    store = open_store(str(tmp_path / "a" / "b"), None)
    assert isinstance(store, LocalStore) and (tmp_path / "a" / "b").is_dir()


def test_an_s3_url_names_bucket_and_prefix():
    store = open_store("s3://state/some/where/", R2)
    assert isinstance(store, S3Store)
    assert (store.config["bucket"], store.prefix) == ("state", "some/where")
    with pytest.raises(SettingsError, match="s3://state/x needs R2_ENDPOINT_URL"):
        open_store("s3://state/x", None)


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("NoSuchBucket", "R2_BUCKET"),
        ("InvalidAccessKeyId", "R2_ACCESS_KEY_ID"),
        ("SignatureDoesNotMatch", "R2_SECRET_ACCESS_KEY"),
        ("AccessDenied", "Object Read"),
        ("SomethingNew", "SomethingNew"),
        ("", "an error"),
    ],
)
def test_a_refusal_is_one_line_that_says_what_to_set(code, advice):
    client = s3_client(R2)
    with Stubber(client) as stub:
        stub.add_client_error(
            "list_objects_v2", code, expected_params={"Bucket": "podcasts", "Prefix": "p/", "MaxKeys": 1}
        )
        with pytest.raises(AccessError) as caught:
            check_access(client, "podcasts", "p/")
    said = str(caught.value)
    assert "'podcasts'" in said and advice in said and "\n" not in said and R2.secret_access_key not in said
    assert caught.value.__suppress_context__


def test_an_endpoint_that_is_not_there_is_named_by_its_variable(monkeypatch):
    monkeypatch.setattr(client_module, "_CHECK_RETRY", NO_WAIT)

    class Unreachable:
        def list_objects_v2(self, **_: object) -> None:
            raise EndpointConnectionError(endpoint_url="https://nowhere.example")

    with pytest.raises(GaveUp, match="R2_ENDPOINT_URL"):
        check_access(Unreachable(), "podcasts", "")


def test_access_that_is_granted_says_nothing():
    client = s3_client(R2)
    with Stubber(client) as stub:
        stub.add_response("list_objects_v2", {"KeyCount": 0})
        check_access(client, "podcasts", "p/")
        stub.assert_no_pending_responses()
