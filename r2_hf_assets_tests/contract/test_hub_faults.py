"""The injected faults that tests of the product rely on."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from r2_hf_sandbox import HubServer, SandboxError
from r2_hf_sandbox.processes import wait_until


@pytest.fixture(autouse=True)
def _cleared(hub: HubServer):
    yield
    hub.clear_faults()


def _create(hub: HubServer, name: str, timeout: float = 10) -> requests.Response:
    return requests.post(
        f"{hub.endpoint}/api/repos/create",
        json={"name": name, "type": "dataset"},
        headers={"Authorization": f"Bearer {hub.token}"},
        timeout=timeout,
    )


def _exists(hub: HubServer, name: str) -> bool:
    return requests.get(f"{hub.endpoint}/api/datasets/sandbox/{name}", timeout=10).status_code == 200


def test_a_status_is_returned_the_given_number_of_times(hub: HubServer) -> None:
    fault = {"method": "POST", "path_regex": "/repos/create$", "times": 2, "status": 429}
    hub.inject({**fault, "headers": {"Retry-After": "7"}, "body": {"error": "slow down"}})
    first = _create(hub, "often")
    assert (first.status_code, first.headers["Retry-After"], first.json()) == (429, "7", {"error": "slow down"})
    assert not _exists(hub, "often")
    assert [_create(hub, "often").status_code for _ in range(2)] == [429, 200]


def test_a_fault_skips_the_first_requests(hub: HubServer) -> None:
    hub.inject({"path_regex": "/whoami", "skip": 1, "status": 503})
    url = f"{hub.endpoint}/api/whoami-v2"
    assert [requests.get(url, timeout=10).status_code for _ in range(3)] == [401, 503, 401]


def test_an_error_after_the_work_is_done(hub: HubServer) -> None:
    hub.inject({"path_regex": "/repos/create$", "status": 504, "after": True})
    assert _create(hub, "after").status_code == 504
    assert _exists(hub, "after")


def test_a_dropped_connection_before_and_after_the_work(hub: HubServer) -> None:
    hub.inject({"path_regex": "/repos/create$", "drop": True, "after": True})
    with pytest.raises(requests.ConnectionError):
        _create(hub, "dropped-after")
    assert _exists(hub, "dropped-after")
    hub.inject({"path_regex": "/repos/create$", "drop": True})
    with pytest.raises(requests.ConnectionError):
        _create(hub, "dropped-before")
    assert not _exists(hub, "dropped-before")


def test_a_delay_precedes_the_normal_response(hub: HubServer) -> None:
    hub.inject({"path_regex": "/repos/create$", "delay_s": 0.3})
    started = time.monotonic()
    assert _create(hub, "late").status_code == 200
    assert time.monotonic() - started >= 0.3


@pytest.mark.parametrize("silence", ["read", "unread"])
def test_a_silent_route_does_not_respond_until_the_faults_are_cleared(hub: HubServer, silence: str) -> None:
    hub.inject({"path_regex": "/repos/create$", "silence": silence, "times": 2})
    with pytest.raises(requests.Timeout):
        _create(hub, f"never-{silence}", timeout=0.2)
    with ThreadPoolExecutor(1) as pool:
        mark = hub.mark()
        waiting = pool.submit(_create, hub, f"never-{silence}")
        assert wait_until(lambda: bool(hub.requests(mark)), 10, 0.01)
        assert not waiting.done()
        hub.clear_faults()
        assert isinstance(waiting.exception(), requests.ConnectionError)
    assert not _exists(hub, f"never-{silence}")


def test_silence_after_the_work_is_done(hub: HubServer) -> None:
    hub.inject({"path_regex": "/repos/create$", "silence": "read", "after": True})
    with pytest.raises(requests.Timeout):
        _create(hub, "silent-after", timeout=0.5)
    assert _exists(hub, "silent-after")


def test_the_request_log_has_no_secret(hub: HubServer) -> None:
    mark = hub.mark()
    _create(hub, "logged")
    (request,) = hub.requests(mark)
    assert (request["method"], request["path"], request["status"]) == ("POST", "/api/repos/create", 200)
    assert request["authorized"] is True
    assert hub.token not in str(hub.requests())


def test_a_fault_with_an_unknown_field_is_refused(hub: HubServer) -> None:
    with pytest.raises(SandboxError, match="path_regex"):
        hub.inject({"path": "/x"})
    with pytest.raises(SandboxError, match="unread"):
        hub.inject({"path_regex": "/x", "silence": "loud"})
