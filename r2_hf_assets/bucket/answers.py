"""What an S3 server's answer means, read from its status and its error code, whichever client asked.

A 404 that does not say NoSuchKey (a bucket that is gone, a proxy's own page) is never taken for an object that is not
there: a missing object costs a segment. What is neither an object, nor its absence, nor a refusal may pass.
"""

import re

from r2_hf_assets.retry import Trouble

# S3 error codes that a user can do something about, and what.
ADVICE = {
    "NoSuchBucket": "there is no such bucket; check R2_BUCKET",
    "InvalidBucketName": "no bucket can have this name; check R2_BUCKET",
    "InvalidArgument": "it takes no such request; check R2_ACCESS_KEY_ID (R2's have 32 characters) and R2_REGION",
    "InvalidRegionName": "there is no such region; set R2_REGION (auto for R2)",
    "InvalidAccessKeyId": "the access key is unknown; check R2_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "the secret does not fit the access key; check R2_SECRET_ACCESS_KEY",
    "AccessDenied": "the token may not do this in this bucket; check R2_ACCESS_KEY_ID and its rights (Object Read)",
    "ExpiredToken": "the credentials have expired; set R2_SESSION_TOKEN and its keys anew",
    "InvalidToken": "the session token is wrong; check R2_SESSION_TOKEN and that it belongs to R2_ACCESS_KEY_ID",
    "AuthorizationHeaderMalformed": "the region is wrong; set R2_REGION to the bucket's",
    "PermanentRedirect": "the bucket is in another region; set R2_ENDPOINT_URL and R2_REGION to its own",
    "Unauthorized": "the token is refused; check R2_ACCESS_KEY_ID and R2_SECRET_ACCESS_KEY",
}
REFUSED = "the bucket refuses the credentials; check R2_ACCESS_KEY_ID and its rights"
SKEWED = "RequestTimeTooSkewed"
CLOCK = Trouble(f"this machine's clock is wrong ({SKEWED}); set it")
UNTRUSTED = "its certificate is not trusted: name the authority in AWS_CA_BUNDLE or SSL_CERT_FILE"

_NO_KEY = "NoSuchKey"
_REFUSALS = (401, 403)


def error_code(body: bytes) -> str:
    """The code in an error's body, "NoSuchKey"; "" where it has none."""
    found = re.search(rb"<Code>(\w+)</Code>", body.partition(b"<Error>")[2])
    return found[1].decode() if found else ""


def missing(status: int, code: str) -> bool:
    """Whether the object does not exist."""
    return status == 404 and code == _NO_KEY


def refusal(status: int, code: str) -> str | None:
    """Why this was refused and what to do about it; None when it was not."""
    if code in ADVICE:
        return ADVICE[code]
    return REFUSED if status in _REFUSALS and code != SKEWED else None


def passing(status: int, code: str, wait: float = 0.0) -> Trouble:
    """The trouble behind an answer that is neither an object, nor `missing`, nor a `refusal`."""
    if code == SKEWED:
        return CLOCK
    if code:
        return Trouble(f"the bucket answers HTTP {status} {code}", wait)
    return no_proper_answer(f"HTTP {status}", wait)


def no_proper_answer(what: str, wait: float = 0.0) -> Trouble:
    """The trouble behind an answer that no bucket gives, or that never came: `what` happened, in words."""
    return Trouble(f"the bucket does not answer properly ({what}); check R2_ENDPOINT_URL if this lasts", wait)
