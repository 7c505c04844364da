"""Which errors of huggingface_hub are transient, and the message of a refusal."""

import errno
import importlib
import json

import pytest
import requests
from huggingface_hub.utils import get_session

from r2_hf_assets.hub.errors import (
    NotVisibleYet,
    TransferFailed,
    classify,
    explain,
    server_message,
    status_of,
)
from r2_hf_assets.retry import TransientError
from r2_hf_assets_tests.hub.fake_repo import http_error


def chained(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("status", [408, 409, 412, 429, 500, 502, 503, 504])
def test_transient_statuses(status):
    transient = classify(http_error(status, {"Retry-After": "9"}))
    assert transient is not None and f"HTTP {status}" in transient.reason and transient.wait == 9.0
    assert "\n" not in transient.reason


@pytest.mark.parametrize(("status", "quota"), [(429, True), (409, False), (503, False)])
def test_a_429_is_a_quota(status, quota):
    transient = classify(http_error(status))
    assert transient is not None and transient.quota is quota


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422])
def test_permanent_statuses(status):
    assert classify(http_error(status)) is None


@pytest.mark.parametrize(
    "error",
    [
        requests.ConnectionError("reset"),
        requests.Timeout("slow"),
        requests.exceptions.ChunkedEncodingError("cut"),
        ConnectionResetError("reset"),
        BrokenPipeError("gone"),
        TimeoutError("slow"),
        TransferFailed("Data processing error: CAS service error"),
        chained(RuntimeError("upload failed"), http_error(503)),
        chained(RuntimeError("upload failed"), requests.ConnectionError("reset")),
        json.JSONDecodeError("a proxy's page", "<html>", 0),
        NotVisibleYet(),
    ],
    ids=repr,
)
def test_transport_errors_are_transient(error):
    transient = classify(error)
    assert transient is not None and transient.reason


def test_transport_errors_of_the_installed_http_client_are_transient():
    client = importlib.import_module(type(get_session()).__module__.partition(".")[0])
    for error in (client.ConnectError, client.ReadTimeout, client.RemoteProtocolError):
        assert classify(error("no response")) == TransientError(f"the Hub can't be reached ({error.__name__})")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("unexpected"),
        RuntimeError("a bug"),
        KeyError("unexpected"),
        FileNotFoundError("no such shard"),
        OSError(errno.ENOSPC, "full"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
        chained(RuntimeError("upload failed"), http_error(403)),
        chained(RuntimeError("upload failed"), ValueError("unexpected")),
    ],
    ids=repr,
)
def test_other_errors_are_not_transient(error):
    assert classify(error) is None


@pytest.mark.parametrize(
    ("status", "advice"),
    [(401, "HF_TOKEN"), (402, "quota"), (403, "write access"), (404, "HF_REPO_ID"), (418, "HTTP 418")],
)
def test_a_refusal_is_one_line_with_advice(status, advice):
    refused = explain(http_error(status), "me/speech")
    assert refused is not None
    assert "me/speech" in str(refused) and advice in str(refused) and "\n" not in str(refused)


def test_a_refusal_of_an_lfs_transfer_is_explained():
    """huggingface_hub wraps the error of an LFS transfer."""
    refused = explain(chained(RuntimeError("Error while uploading 'data/x'"), http_error(403)), "me/speech")
    assert refused is not None and "write access" in str(refused)


def test_other_errors_are_not_explained():
    assert explain(ValueError("unexpected"), "me/speech") is None
    assert explain(requests.ConnectionError("reset"), "me/speech") is None


def test_the_status_and_the_message_of_a_response_are_returned():
    refusal = http_error(400)
    assert status_of(refusal) == 400 and status_of(ValueError("unexpected")) is None
    assert server_message(refusal) == "400 Error"
    refusal.server_message = "no such content at https://hub/x?sig=secret\nmore"
    assert server_message(refusal) == "no such content at https://hub/x"
