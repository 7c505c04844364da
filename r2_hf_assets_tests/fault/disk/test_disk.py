"""The same rules without a disk to spoil: what each of the system's numbers says, and that nothing waits for a disk."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import obstore
import pyarrow as pa
import pytest
from dagster import Failure
from obstore.exceptions import AlreadyExistsError, GenericError
from obstore.store import LocalStore

from r2_hf_assets.bucket.client import call_with_retry
from r2_hf_assets.disk import disk_error, on_disk
from r2_hf_assets.errors import DiskError, DiskFull, RetriesExhausted
from r2_hf_assets.retry import Retry
from r2_hf_assets.runs.outcome import report_user_errors
from r2_hf_assets_tests.support.build_samples import NO_WAIT, Flaky

FOLDER = Path("/data/state")
FULL = (errno.ENOSPC, errno.EDQUOT)
WRONG = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.EXDEV, errno.EIO)


def no_sleep(seconds: float) -> None:
    raise AssertionError(f"waited {seconds} s for a disk")


ONCE = Retry(sleep=no_sleep)


def quoted(number: int) -> GenericError:
    """What obstore makes of a folder's error."""
    return GenericError(f"Generic LocalFileSystem error: Unable to copy: {os.strerror(number)} (os error {number})")


@pytest.mark.parametrize("number", [*FULL, *WRONG, errno.ENOENT, errno.ESTALE], ids=errno.errorcode.get)
def test_a_number_is_one_line_that_names_the_folder_and_says_what_to_do(number):
    told = disk_error(OSError(number, "words"), FOLDER)
    assert told is not None and str(told).startswith("/data/state: ") and "\n" not in str(told)
    assert len(str(told).split(";")) == 2, "what is wrong; what to do"
    assert told.transient is isinstance(told, DiskFull) is (number in FULL)


@pytest.mark.parametrize("number", [*FULL, *(n for n in WRONG if n != errno.EEXIST)], ids=errno.errorcode.get)
def test_a_quoted_number_says_the_same(number):
    assert str(disk_error(quoted(number), FOLDER)) == str(disk_error(OSError(number, "words"), FOLDER))
    assert str(disk_error(OSError(f"I/O error (os error {number})"), FOLDER)) == str(disk_error(quoted(number), FOLDER))


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError("Object at location x not found (os error 2)"),
        AlreadyExistsError("Object at location x already exists: File exists (os error 17)"),
        ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
        OSError("client error (Connect): tcp connect error (os error 111)"),
        RetriesExhausted("GET k: no connection (os error 13)"),
        ValueError("(os error"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_answer_about_an_object_or_a_connection_is_not_a_disks(error):
    assert disk_error(error, FOLDER) is None
    with pytest.raises(type(error)), on_disk(FOLDER):
        raise error


def test_what_arrow_says_of_a_full_disk_is_read():
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(DiskFull, match="/data/state"), on_disk(FOLDER), pa.OSFile("/dev/full", "wb") as file:
        file.write(bytes(100_000))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS], ids=errno.errorcode.get)
def test_a_folder_is_asked_once(tmp_path, number):
    store = LocalStore(tmp_path)
    put = Flaky(obstore.put, times=1, error=lambda: quoted(number))
    with pytest.raises(DiskError, match=f"^{tmp_path}: "):
        call_with_retry(ONCE, "writing x", lambda: put(store, "x", b""), store)
    assert call_with_retry(ONCE, "writing x", lambda: put(store, "x", b""), store)


def test_a_bucket_that_fails_is_asked_again(tmp_path):
    """The control: the same number in what is no folder's error may pass."""
    get = Flaky(lambda *_: b"", times=1, error=lambda: GenericError("Generic S3 error: reset (os error 28)"))
    assert call_with_retry(NO_WAIT, "reading x", lambda: get(None, "x")) == b""


def test_a_library_that_does_not_say_where_is_told_of_its_home(monkeypatch):
    monkeypatch.setenv("HF_HOME", "/data/hf")
    context: Any = SimpleNamespace(run=SimpleNamespace(run_id="a"), instance=Mock(), log=Mock())
    with pytest.raises(Failure) as caught, report_user_errors(context):
        raise OSError("I/O error: No space left on device (os error 28)")
    assert str(caught.value.description).startswith("HF_HOME (/data/hf): no space")
    assert caught.value.allow_retries is True
    assert not context.instance.add_run_tags.called
    with pytest.raises(Failure) as caught, report_user_errors(context):
        raise OSError(errno.EROFS, "read-only", "/tmp/x")
    assert str(caught.value.description).startswith("/tmp/x: it is read-only") and not caught.value.allow_retries


def test_an_error_of_another_kind_keeps_its_trace():
    with pytest.raises(ConnectionResetError), report_user_errors(Mock()):
        raise ConnectionResetError(errno.ECONNRESET, "reset")
