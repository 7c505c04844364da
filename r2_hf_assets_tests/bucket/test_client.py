"""obstore's client: its options for R2, and which of its errors are transient. Nothing is requested."""

from dataclasses import replace

import pytest
from obstore.exceptions import (
    AlreadyExistsError,
    GenericError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import LocalStore, S3Store

from r2_hf_assets.bucket.client import object_store, open_store
from r2_hf_assets.bucket.s3_errors import classify_obstore_error
from r2_hf_assets.errors import AccessError, SettingsError
from r2_hf_assets.settings import BucketSettings

R2 = BucketSettings("https://account.r2.example", "key-id", "secret-to-hide", "podcasts")


def test_a_generic_error_is_transient():
    error = classify_obstore_error("GET k", GenericError("503"))
    assert error is not None and error.reason


def test_a_listing_without_such_a_key_is_transient():
    """A path-style listing is a GET of an object where the endpoint's host already names the bucket."""
    response = "Server returned non-2xx status code: 404 Not Found: <?xml?><Error><Code>NoSuchKey</Code></Error>"
    error = classify_obstore_error("listing plan/", GenericError(response))
    assert error is not None and "HTTP 404" in error.reason and "R2_ENDPOINT_URL" in error.reason
    assert classify_obstore_error("GET k", NotFoundError(response)) is None


@pytest.mark.parametrize("error", [NotFoundError("k"), AlreadyExistsError("k"), ValueError("k")])
def test_errors_of_an_object_are_not_transient(error):
    assert classify_obstore_error("GET k", error) is None


@pytest.mark.parametrize("error", [PermissionDeniedError("k"), UnauthenticatedError("k")])
def test_refused_credentials_raise_one_line(error):
    with pytest.raises(AccessError, match="GET k: the bucket refuses the credentials"):
        classify_obstore_error("GET k", error)


def test_the_object_store_has_the_options_that_r2_requires():
    store = object_store(R2, bucket="other", prefix="state")
    assert store.config["region"] == "auto"
    assert str(store.config["virtual_hosted_style_request"]) == "false"
    assert (store.config["bucket"], store.prefix) == ("other", "state")
    assert object_store(R2).config["bucket"] == "podcasts"
    assert "secret-to-hide" not in repr(store)


def test_a_session_token_is_in_no_repr():
    r2 = replace(R2, session_token="token-to-hide")
    store = object_store(r2)
    assert store.config["session_token"] == "token-to-hide"
    assert "token-to-hide" not in f"{store!r} {r2!r}"


def test_a_url_without_a_scheme_is_a_folder_and_is_created(tmp_path):
    store = open_store(str(tmp_path / "a" / "b"), None)
    assert isinstance(store, LocalStore) and (tmp_path / "a" / "b").is_dir()


def test_an_s3_url_names_bucket_and_prefix():
    store = open_store("s3://state/some/where/", R2)
    assert isinstance(store, S3Store)
    assert (store.config["bucket"], store.prefix) == ("state", "some/where")
    with pytest.raises(SettingsError, match="s3://state/x needs R2_ENDPOINT_URL"):
        open_store("s3://state/x", None)
