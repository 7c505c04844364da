"""Which errors of huggingface_hub may pass, and what is said of those that will not."""

import errno
import importlib
import json

import pytest
import requests
from huggingface_hub.utils import get_session

from r2_hf_assets.hub.errors import (
    NotVisibleYet,
    TransferBroken,
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
def test_statuses_that_may_pass(status):
    trouble = classify(http_error(status, {"Retry-After": "9"}))
    assert trouble is not None and f"HTTP {status}" in trouble.reason and trouble.wait == 9.0
    assert "\n" not in trouble.reason


@pytest.mark.parametrize(("status", "quota"), [(429, True), (409, False), (503, False)])
def test_a_429_is_a_quota(status, quota):
    trouble = classify(http_error(status))
    assert trouble is not None and trouble.quota is quota


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422])
def test_statuses_that_will_not(status):
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
        TransferBroken("Data processing error: CAS service error"),
        chained(RuntimeError("upload failed"), http_error(503)),
        chained(RuntimeError("upload failed"), requests.ConnectionError("reset")),
        json.JSONDecodeError("a proxy's page", "<html>", 0),
        NotVisibleYet(),
    ],
    ids=repr,
)
def test_a_broken_transport_may_pass(error):
    trouble = classify(error)
    assert trouble is not None and trouble.reason


def test_transport_errors_of_the_librarys_own_http_client_may_pass():
    client = importlib.import_module(type(get_session()).__module__.partition(".")[0])
    for error in (client.ConnectError, client.ReadTimeout, client.RemoteProtocolError):
        assert classify(error("no answer")) == TransientError(f"the Hub can't be reached ({error.__name__})")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("odd"),
        RuntimeError("a fault in our own code"),
        KeyError("odd"),
        FileNotFoundError("no such shard"),
        OSError(errno.ENOSPC, "full"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
        chained(RuntimeError("upload failed"), http_error(403)),
        chained(RuntimeError("upload failed"), ValueError("odd")),
    ],
    ids=repr,
)
def test_everything_else_will_not(error):
    assert classify(error) is None


@pytest.mark.parametrize(
    ("status", "advice"),
    [(401, "HF_TOKEN"), (402, "quota"), (403, "write access"), (404, "HF_REPO_ID"), (418, "HTTP 418")],
)
def test_a_refusal_says_what_to_do_in_one_line(status, advice):
    refused = explain(http_error(status), "me/speech")
    assert refused is not None
    assert "me/speech" in str(refused) and advice in str(refused) and "\n" not in str(refused)


def test_a_refusal_in_the_midst_of_an_upload_is_found():
    """huggingface_hub wraps what an LFS transfer raised."""
    refused = explain(chained(RuntimeError("Error while uploading 'data/x'"), http_error(403)), "me/speech")
    assert refused is not None and "write access" in str(refused)


def test_other_errors_are_not_explained_away():
    assert explain(ValueError("odd"), "me/speech") is None
    assert explain(requests.ConnectionError("reset"), "me/speech") is None


def test_status_and_message_of_an_answer_are_read():
    refusal = http_error(400)
    assert status_of(refusal) == 400 and status_of(ValueError("odd")) is None
    assert server_message(refusal) == "400 Error"
    refusal.server_message = "no such content at https://hub/x?sig=secret\nmore"
    assert server_message(refusal) == "no such content at https://hub/x"
