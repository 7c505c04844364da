"""The troubles of S3 that may pass, by name, and what an error that they last says of each."""

from typing import Any

from r2_hf_sandbox.s3.faults import FOR_EVER, S3Fault, S3Faults

PAGE = b"<html><body>Bad gateway</body></html>"

TROUBLES: dict[str, dict[str, Any]] = {
    "500": {"status": 500},
    "503 SlowDown": {"status": 503, "code": "SlowDown"},
    "429": {"status": 429, "code": "TooManyRequests"},
    "502 with a page": {"status": 502, "body": PAGE},
    "404 of someone else": {"status": 404, "body": PAGE},
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
    "404 of someone else": "HTTP 404",
    "wrong clock": "this machine's clock is wrong",
    "reset": "the connection broke",
    "truncated": "the connection broke",
    "stalled": "silence",
    "refused": "no connection",
}


def order(proxy: S3Faults, trouble: str, path_regex: str, times: int = FOR_EVER) -> None:
    """Order a trouble by its name. "refused" hits every request, for as long as the proxy does not listen again."""
    if trouble == "refused":
        proxy.refuse()
    else:
        proxy.inject(S3Fault(path_regex, times=times, **TROUBLES[trouble]))


def end(proxy: S3Faults, trouble: str) -> None:
    """The trouble has passed."""
    proxy.clear()
    if trouble == "refused":
        proxy.listen()
