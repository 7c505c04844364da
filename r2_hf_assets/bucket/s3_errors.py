"""Classify failed S3 requests, for libcurl and for obstore: a refusal, a transient error, or a missing object.

A 404 without NoSuchKey (the bucket is gone, or a proxy responds) is no missing object, because a missing object is
recorded as a reject. Every error that is neither a missing object nor a refusal (AccessError) is transient.
"""

import re
from collections.abc import Mapping

import pycurl
from obstore.exceptions import GenericError, NotFoundError, PermissionDeniedError, UnauthenticatedError

from r2_hf_assets.errors import AccessError
from r2_hf_assets.retry import TransientError

NO_SUCH_KEY = "NoSuchKey"
# S3 error codes that a user can act on. {bucket} and {rights} are of _EPISODES or of _STATE.
_ADVICE = {
    "NoSuchBucket": "there is no such bucket; check {bucket}",
    "InvalidBucketName": "no bucket can have this name; check {bucket}",
    "InvalidArgument": "the request is rejected; check R2_ACCESS_KEY_ID (R2's have 32 characters) and R2_REGION",
    "InvalidRegionName": "there is no such region; set R2_REGION (auto for R2)",
    "InvalidAccessKeyId": "the access key is unknown; check R2_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "the secret does not match the access key; check R2_SECRET_ACCESS_KEY",
    "AccessDenied": "the token does not allow this in this bucket; check R2_ACCESS_KEY_ID and its rights ({rights})",
    "ExpiredToken": "the credentials have expired; set a new R2_SESSION_TOKEN and its keys",
    "InvalidToken": "the session token is wrong; check R2_SESSION_TOKEN and that it belongs to R2_ACCESS_KEY_ID",
    "AuthorizationHeaderMalformed": "the region is wrong; set R2_REGION to the bucket's",
    "PermanentRedirect": "the bucket is in another region; set R2_ENDPOINT_URL and R2_REGION to its own",
    "Unauthorized": "the token is refused; check R2_ACCESS_KEY_ID and R2_SECRET_ACCESS_KEY",
}
_EPISODES = {"bucket": "R2_BUCKET", "rights": "Object Read"}
_STATE = {"bucket": "STATE_URL", "rights": "Object Read & Write"}
_REFUSED = "the bucket refuses the credentials; check R2_ACCESS_KEY_ID and its rights"
_UNTRUSTED = "its certificate is not trusted: name the authority in AWS_CA_BUNDLE or SSL_CERT_FILE"

# obstore raises a builtin or a class of its own.
NOT_FOUND = (FileNotFoundError, NotFoundError)
_DENIED = (PermissionError, PermissionDeniedError, UnauthenticatedError)

_CURL_ERRORS = {
    pycurl.E_COULDNT_RESOLVE_HOST: "no connection",
    pycurl.E_COULDNT_CONNECT: "no connection",
    pycurl.E_COULDNT_RESOLVE_PROXY: "the proxy in the environment can't be used",
    pycurl.E_PEER_FAILED_VERIFICATION: _UNTRUSTED,
    pycurl.E_OPERATION_TIMEDOUT: "timed out",
    pycurl.E_PARTIAL_FILE: "the connection broke",
    pycurl.E_GOT_NOTHING: "the connection broke",
    pycurl.E_SEND_ERROR: "the connection broke",
    pycurl.E_RECV_ERROR: "the connection broke",
}
_OBSTORE_ERRORS = {
    "InvalidCertificate": _UNTRUSTED,
    "kind: Connect": "no connection",
    "kind: Timeout": "timed out",
    "kind: Interrupted": "the connection broke",
}


def classify_response(
    what: str, status: int, code: str, wait_s: float = 0.0, place: Mapping[str, str] = _EPISODES
) -> TransientError | None:
    """Return the transient error of an error response; None when the object does not exist.

    `code` is its S3 error code or "", `wait_s` its Retry-After in seconds. A refusal of `what` raises AccessError.
    """
    if status == 404 and code == NO_SUCH_KEY:
        return None
    if code == "RequestTimeTooSkewed":
        return TransientError(f"this machine's clock is wrong ({code}); set it")
    if code in _ADVICE or status in (401, 403):
        raise AccessError(f"{what}: {_ADVICE.get(code, _REFUSED).format_map(place)}") from None
    if code:
        return TransientError(f"the bucket returned HTTP {status} {code}", wait_s)
    return request_failed(f"HTTP {status}", wait_s)


def request_failed(problem: str, wait_s: float = 0.0) -> TransientError:
    """Return the transient error for a response that is missing, incomplete or not S3's."""
    return TransientError(f"the bucket request failed ({problem}); check R2_ENDPOINT_URL if this lasts", wait_s)


def classify_curl_error(number: int, message: str) -> TransientError:
    """Return the transient error for an error of libcurl."""
    return request_failed(_CURL_ERRORS.get(number) or message or f"libcurl error {number}")


def error_code(body: str) -> str:
    """Return the S3 error code in an error's body, e.g. "NoSuchKey"; "" when there is none."""
    match = re.search(r"<Code>(\w+)</Code>", body.partition("<Error>")[2])
    return match[1] if match else ""


def classify_obstore_error(what: str, error: BaseException) -> TransientError | None:
    """Classify an exception of obstore, the client of the state; None for a missing object, and if not transient.

    obstore raises GenericError for 5xx, 429, timeouts, resets and truncated bodies. A refusal raises AccessError.
    """
    message = str(error)
    response = re.search(r"status code: (\d{3})\b(.*)", message, re.S)
    if response and isinstance(error, (GenericError, *NOT_FOUND, *_DENIED)):
        failure = classify_response(what, int(response[1]), error_code(response[2]), place=_STATE)
        missing = isinstance(error, NOT_FOUND)
        return failure if failure or missing else request_failed(f"HTTP {response[1]} to a listing")
    if isinstance(error, _DENIED):
        raise AccessError(f"{what}: {_REFUSED}") from None
    if not isinstance(error, GenericError):
        return None
    first_line = message.partition("\n")[0].rpartition(" - ")[2][:200]
    problems = (problem for kind, problem in _OBSTORE_ERRORS.items() if re.search(rf"\b{kind}\b", message))
    return request_failed(next(problems, first_line))
