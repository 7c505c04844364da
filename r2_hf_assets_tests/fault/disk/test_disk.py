"""Disk errors without a disk: the message of each errno, and that none is retried."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import duckdb
import obstore
import pyarrow as pa
import pytest
from dagster import Failure
from obstore.exceptions import AlreadyExistsError, GenericError
from obstore.store import LocalStore

from r2_hf_assets.bucket.client import call_with_retry
from r2_hf_assets.disk import disk_error, on_disk, scratch_folder
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


def obstore_error(number: int) -> GenericError:
    """Return obstore's error for a folder's errno."""
    return GenericError(f"Generic LocalFileSystem error: Unable to copy: {os.strerror(number)} (os error {number})")


@pytest.mark.parametrize("number", [*FULL, *WRONG, errno.ENOENT, errno.ESTALE], ids=errno.errorcode.get)
def test_an_errno_is_one_line_with_folder_and_advice(number):
    error = disk_error(OSError(number, "words"), FOLDER)
    assert error is not None and str(error).startswith("/data/state: ") and "\n" not in str(error)
    assert len(str(error).split(";")) == 2, "the problem; the advice"
    assert error.transient is isinstance(error, DiskFull) is (number in FULL)


@pytest.mark.parametrize("number", [*FULL, *(n for n in WRONG if n != errno.EEXIST)], ids=errno.errorcode.get)
def test_an_errno_in_a_message_gives_the_same_line(number):
    quoted = str(disk_error(obstore_error(number), FOLDER))
    assert quoted == str(disk_error(OSError(number, "words"), FOLDER))
    assert quoted == str(disk_error(OSError(f"I/O error (os error {number})"), FOLDER))


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
def test_an_error_of_an_object_or_connection_is_no_disk_error(error):
    assert disk_error(error, FOLDER) is None
    with pytest.raises(type(error)), on_disk(FOLDER):
        raise error


def test_arrows_error_of_a_full_disk_is_recognized():
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(DiskFull, match="/data/state"), on_disk(FOLDER), pa.OSFile("/dev/full", "wb") as file:
        file.write(bytes(100_000))


def test_duckdbs_errors_of_a_disk_are_recognized(tmp_path):
    spilled = "failed to offload data block\nThis limit was set by the 'max_temp_directory_size' setting.\n..."
    with pytest.raises(DiskFull, match="/data/state: no space"), on_disk(FOLDER):
        raise duckdb.OutOfMemoryException(spilled)
    with pytest.raises(duckdb.OutOfMemoryException), on_disk(FOLDER):
        raise duckdb.OutOfMemoryException("failed to pin block")  # of the memory limit
    with pytest.raises(DiskError, match="/data/state: it does not exist"), on_disk(FOLDER):
        duckdb.connect(str(tmp_path / "absent" / "rows.duckdb"))
    with pytest.raises(duckdb.ParserException), on_disk(FOLDER), duckdb.connect() as database:
        database.execute("SELEC 1")


def test_a_scratch_folder_is_removed_and_so_are_those_of_killed_processes(tmp_path):
    orphan, young = tmp_path / "rows-orphan", tmp_path / "rows-young"
    for folder in (orphan, young):
        folder.mkdir()
    (tmp_path / "file").write_bytes(b"PAR1")
    with scratch_folder(tmp_path, "rows-") as used:
        for path in (orphan, used, tmp_path / "file"):
            os.utime(path, (0, 0))
        with scratch_folder(tmp_path, "rows-") as second:
            assert {path for path in tmp_path.iterdir()} == {young, used, second}
    assert {path.name for path in tmp_path.iterdir()} == {"rows-young"}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS], ids=errno.errorcode.get)
def test_a_disk_error_is_not_retried(tmp_path, number):
    store = LocalStore(tmp_path)
    put = Flaky(obstore.put, times=1, error=lambda: obstore_error(number))
    with pytest.raises(DiskError, match=f"^{tmp_path}: "):
        call_with_retry(ONCE, "writing x", lambda: put(store, "x", b""), store)
    assert call_with_retry(ONCE, "writing x", lambda: put(store, "x", b""), store)


def test_a_bucket_error_is_retried(tmp_path):
    """The same errno in a bucket's error is transient."""
    get = Flaky(lambda *_: b"", times=1, error=lambda: GenericError("Generic S3 error: reset (os error 28)"))
    assert call_with_retry(NO_WAIT, "reading x", lambda: get(None, "x")) == b""


def test_an_error_without_a_path_names_hf_home(monkeypatch):
    monkeypatch.setenv("HF_HOME", "/data/hf")
    context: Any = SimpleNamespace(run=SimpleNamespace(run_id="a", tags={}), instance=Mock(), log=Mock())
    with pytest.raises(Failure) as caught, report_user_errors(context):
        raise OSError("I/O error: No space left on device (os error 28)")
    assert str(caught.value.description).startswith("HF_HOME (/data/hf): no space")
    assert caught.value.allow_retries is True
    assert not context.instance.add_run_tags.called
    with pytest.raises(Failure) as caught, report_user_errors(context):
        raise OSError(errno.EROFS, "read-only", "/tmp/x")
    assert str(caught.value.description).startswith("/tmp/x: it is read-only") and not caught.value.allow_retries


def test_another_error_keeps_its_traceback():
    with pytest.raises(ConnectionResetError), report_user_errors(Mock()):
        raise ConnectionResetError(errno.ECONNRESET, "reset")
