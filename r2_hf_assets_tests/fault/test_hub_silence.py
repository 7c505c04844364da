"""A Hub that accepts a request and never answers, at every route that the product asks, over Xet and over LFS."""

import time

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import http_backoff

from r2_hf_assets.errors import RetriesExhausted
from r2_hf_assets.hub import timeouts, upload_xet
from r2_hf_assets.hub.card.merge import CARD_PATH
from r2_hf_assets.hub.card.text import CARD
from r2_hf_assets.hub.client import RemoteFile
from r2_hf_assets.hub.reads import HubReader, UnreadableShard, take_inventory
from r2_hf_assets.preflight import hub as preflight
from r2_hf_assets.retry import Retry
from r2_hf_assets.settings import HubSettings
from r2_hf_assets_tests.fault.hub_case import EVERY, FOR_EVER, PART, ROUTES, HubCase

REQUEST_S = 0.3
# More than a request may take, as in earnest.
TRANSFER_S = 0.7
TWICE = Retry(attempts=2, base=0.005, cap=0.02)

WRITES = EVERY | {"Xet, deduplication": ("GET", "/v1/chunks/")}
LARGE = ("Xet, commit", "Xet, xorb upload", "LFS, LFS part")  # what is asked there has a body that fills a socket
READS = {
    "tree": ("GET", "/tree/"),
    "paths-info": ("POST", "/paths-info/"),
    "resolve, a small file": ("GET", "/resolve/.*README.md$"),
    "resolve, a range": ("GET", "/resolve/.*parquet$"),
}


def set_bounds(monkeypatch: pytest.MonkeyPatch, request_s: float, transfer_s: float) -> None:
    for kind in timeouts.TIMEOUTS:
        monkeypatch.setitem(timeouts.TIMEOUTS, kind, request_s)
    monkeypatch.setattr(upload_xet, "SILENCE_S", transfer_s)


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each bound as in earnest, but below a second; and two tries of http_backoff in place of six."""
    set_bounds(monkeypatch, REQUEST_S, TRANSFER_S)
    monkeypatch.setitem(http_backoff.__kwdefaults__ or {}, "max_retries", 1)
    for name in ("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"):
        monkeypatch.setattr(constants, name, REQUEST_S)


@pytest.mark.parametrize(
    ("route", "body"), [*((name, "read") for name in WRITES), *((name, "unread") for name in LARGE)]
)
def test_silence_that_ends_costs_nothing(case: HubCase, route: str, body: str) -> None:
    case.order(WRITES[route], silence=body)
    mark = case.hub.mark()
    case.commit()
    assert any(request.get("fault") for request in case.hub.requests(mark)), "the silence was met"
    case.check_whole()


# Asked again, the batch route says that the content is there. Nobody needs the deduplication.
@pytest.mark.parametrize("route", [name for name in WRITES if name not in ("LFS, LFS verify", "Xet, deduplication")])
def test_silence_for_ever_is_given_up(case: HubCase, route: str) -> None:
    case.order(WRITES[route], silence="read", times=FOR_EVER)
    case.client.retry = TWICE
    with pytest.raises(RetriesExhausted, match="after 2 tries") as caught:
        case.commit()
    assert "\n" not in str(caught.value) and caught.value.transient
    case.hub.clear_faults()
    case.check_nothing_visible()
    assert case.commit().committed
    case.check_whole()


def test_an_answer_that_never_comes_after_the_commit_makes_no_second_one(case: HubCase) -> None:
    case.order(ROUTES["commit"], silence="read", after=True, times=FOR_EVER)
    assert not case.commit().committed
    case.check_whole()


def test_silence_is_given_up_for_the_validation_of_a_card_too(case: HubCase) -> None:
    case.order(("POST", "/api/validate-yaml$"), silence="read", times=FOR_EVER)
    with pytest.raises(RetriesExhausted, match="after 2 tries"):
        case.client.call_with_retry("write the card of", lambda: case.client.validate_card(CARD), TWICE)


def read_all(case: HubCase) -> list[RemoteFile]:
    """Every way in which the product reads: a listing, files by path, a small file in whole, a file by ranges."""
    repo, found = case.client, take_inventory(case.client)
    assert found.revision
    assert repo.call_with_retry("read", lambda: repo.read(CARD_PATH, found.revision or "")) == CARD
    assert repo.call_with_retry("list", lambda: repo.files([PART], found.revision or "")) == found.files
    with pytest.raises(UnreadableShard):  # what is there is no Parquet
        HubReader(repo, found.revision).footer(found.files[PART])
    return list(found.files.values())


@pytest.mark.parametrize("reads", READS)
def test_reading_outlasts_silence_and_ends_where_it_does_not(case: HubCase, reads: str) -> None:
    case.commit()
    case.order(READS[reads], silence="read")
    mark = case.hub.mark()
    assert [file.path for file in read_all(case)] == [PART]
    assert any(request.get("fault") for request in case.hub.requests(mark)), "the silence was met"
    case.order(READS[reads], silence="read", times=FOR_EVER)
    case.client.retry = TWICE
    with pytest.raises(RetriesExhausted, match="after 2 tries"):
        read_all(case)


def test_a_silent_hub_is_a_finding(case: HubCase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "PATIENCE_S", REQUEST_S)
    case.order(("GET", "/api/whoami-v2$"), silence="read")
    hub = HubSettings(case.client.repo_id, case.hub.token, case.hub.endpoint)
    (found,) = preflight.check_hub(hub)
    assert "can't be reached" in str(found)


def test_a_large_upload_that_flows_takes_as_long_as_it_needs(case: HubCase, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every answer comes in time, and all of them together take longer than any bound."""
    set_bounds(monkeypatch, 2.0, 2.5)
    case.hub.inject({"path_regex": "^/(api|_cas)/", "delay_s": 0.3, "times": FOR_EVER})
    started = time.monotonic()
    case.client.retry = Retry(attempts=1)
    assert case.commit().committed
    assert time.monotonic() - started > 2.5
    case.hub.clear_faults()
    case.check_whole()
