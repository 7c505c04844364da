"""Transient errors of S3 by name, and the cause that an exhausted retry reports for each."""

from typing import Any

from r2_hf_sandbox.s3.faults import FOR_EVER, S3Fault, S3Faults

PAGE = b"<html><body>Bad gateway</body></html>"

FAULTS: dict[str, dict[str, Any]] = {
    "500": {"status": 500},
    "503 SlowDown": {"status": 503, "code": "SlowDown"},
    "429": {"status": 429, "code": "TooManyRequests"},
    "502 with a page": {"status": 502, "body": PAGE},
    "404 of a proxy": {"status": 404, "body": PAGE},
    "wrong clock": {"status": 403, "code": "RequestTimeTooSkewed"},
    "reset": {"kind": "reset"},
    "truncated": {"kind": "truncate"},
    "stalled": {"kind": "stall"},
    "refused": {},
}
CAUSES = {
    "500": "HTTP 500 InternalError",
    "503 SlowDown": "HTTP 503 SlowDown",
    "429": "HTTP 429 TooManyRequests",
    "502 with a page": "HTTP 502",
    "404 of a proxy": "HTTP 404",
    "wrong clock": "this machine's clock is wrong",
    "reset": "the connection broke",
    "truncated": "the connection broke",
    "stalled": "timed out",
    "refused": "no connection",
}


def inject(proxy: S3Faults, fault: str, path_regex: str, times: int = FOR_EVER) -> None:
    """Inject a fault by name. "refused" affects every request until `end_fault`."""
    if fault == "refused":
        proxy.refuse()
    else:
        proxy.inject(S3Fault(path_regex, times=times, **FAULTS[fault]))


def end_fault(proxy: S3Faults, fault: str) -> None:
    proxy.clear()
    if fault == "refused":
        proxy.listen()
