"""A Hub that accepts a request and never responds, at every route that the product uses, over Xet and LFS."""

import time

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import http_backoff

from r2_hf_assets.errors import RetriesExhausted, ShardError
from r2_hf_assets.hub import timeouts, upload_xet
from r2_hf_assets.hub.card.merge import CARD_PATH
from r2_hf_assets.hub.card.text import CARD
from r2_hf_assets.hub.client import RemoteFile
from r2_hf_assets.hub.reads import HubReader, take_inventory
from r2_hf_assets.preflight import hub as preflight
from r2_hf_assets.retry import Retry
from r2_hf_assets.settings import HubSettings
from r2_hf_assets_tests.fault.hub_case import EVERY, FOR_EVER, PART, ROUTES, HubCase

REQUEST_S = 0.3
# Longer than a request's timeout, as in production.
TRANSFER_S = 0.7
TWICE = Retry(attempts=2, base=0.005, cap=0.02)

WRITES = EVERY | {"Xet, deduplication": ("GET", "/v1/chunks/")}
LARGE = ("Xet, commit", "Xet, xorb upload", "LFS, LFS part")  # their request bodies fill a socket
READS = {
    "tree": ("GET", "/tree/"),
    "paths-info": ("POST", "/paths-info/"),
    "resolve, a small file": ("GET", "/resolve/.*README.md$"),
    "resolve, a range": ("GET", "/resolve/.*parquet$"),
}


def set_bounds(monkeypatch: pytest.MonkeyPatch, request_s: float, transfer_s: float) -> None:
    for kind in timeouts.TIMEOUTS:
        monkeypatch.setitem(timeouts.TIMEOUTS, kind, request_s)
    monkeypatch.setattr(upload_xet, "STALL_S", transfer_s)


@pytest.fixture(autouse=True)
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set every timeout below a second, and two attempts of http_backoff instead of six."""
    set_bounds(monkeypatch, REQUEST_S, TRANSFER_S)
    monkeypatch.setitem(http_backoff.__kwdefaults__ or {}, "max_retries", 1)
    for name in ("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"):
        monkeypatch.setattr(constants, name, REQUEST_S)


@pytest.mark.parametrize(
    ("route", "body"), [*((name, "read") for name in WRITES), *((name, "unread") for name in LARGE)]
)
def test_a_temporary_stall_loses_nothing(case: HubCase, route: str, body: str) -> None:
    case.inject(WRITES[route], silence=body)
    mark = case.hub.mark()
    case.commit()
    assert any(request.get("fault") for request in case.hub.requests(mark)), "the stall was met"
    case.check_whole()


# A repeated batch request reports that the content is stored. Deduplication is optional.
@pytest.mark.parametrize("route", [name for name in WRITES if name not in ("LFS, LFS verify", "Xet, deduplication")])
def test_a_permanent_stall_exhausts_the_retries(case: HubCase, route: str) -> None:
    case.inject(WRITES[route], silence="read", times=FOR_EVER)
    case.client.retry = TWICE
    with pytest.raises(RetriesExhausted, match="after 2 attempts") as caught:
        case.commit()
    assert "\n" not in str(caught.value) and caught.value.transient
    case.hub.clear_faults()
    case.check_nothing_visible()
    assert case.commit().committed
    case.check_whole()


def test_a_stall_after_the_commit_makes_no_second_commit(case: HubCase) -> None:
    case.inject(ROUTES["commit"], silence="read", after=True, times=FOR_EVER)
    assert not case.commit().committed
    case.check_whole()


def test_a_stalled_card_validation_exhausts_the_retries(case: HubCase) -> None:
    case.inject(("POST", "/api/validate-yaml$"), silence="read", times=FOR_EVER)
    with pytest.raises(RetriesExhausted, match="after 2 attempts"):
        case.client.call_with_retry("write the card of", lambda: case.client.validate_card(CARD), TWICE)


def read_all(case: HubCase) -> list[RemoteFile]:
    """Use every way to read: a listing, files by path, a small whole file, a file by ranges."""
    repo, inventory = case.client, take_inventory(case.client)
    assert inventory.revision
    assert repo.call_with_retry("read", lambda: repo.read(CARD_PATH, inventory.revision or "")) == CARD
    assert repo.call_with_retry("list", lambda: repo.files([PART], inventory.revision or "")) == inventory.files
    with pytest.raises(ShardError):  # the file is no Parquet
        HubReader(repo, inventory.revision).footer(inventory.files[PART])
    return list(inventory.files.values())


@pytest.mark.parametrize("reads", READS)
def test_a_stalled_read_is_retried_and_then_fails(case: HubCase, reads: str) -> None:
    case.commit()
    case.inject(READS[reads], silence="read")
    mark = case.hub.mark()
    assert [file.path for file in read_all(case)] == [PART]
    assert any(request.get("fault") for request in case.hub.requests(mark)), "the stall was met"
    case.inject(READS[reads], silence="read", times=FOR_EVER)
    case.client.retry = TWICE
    with pytest.raises(RetriesExhausted, match="after 2 attempts"):
        read_all(case)


def test_preflight_reports_a_stalled_hub(case: HubCase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "PATIENCE_S", REQUEST_S)
    case.inject(("GET", "/api/whoami-v2$"), silence="read")
    hub = HubSettings(case.client.repo_id, case.hub.token, case.hub.endpoint)
    (finding,) = preflight.check_hub(hub)
    assert "can't be reached" in str(finding)


def test_a_slow_upload_with_progress_is_not_cut_off(case: HubCase, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each response arrives in time, but all together take longer than any timeout."""
    set_bounds(monkeypatch, 2.0, 2.5)
    case.hub.inject({"path_regex": "^/(api|_cas)/", "delay_s": 0.3, "times": FOR_EVER})
    started = time.monotonic()
    case.client.retry = Retry(attempts=1)
    assert case.commit().committed
    assert time.monotonic() - started > 2.5
    case.hub.clear_faults()
    case.check_whole()
