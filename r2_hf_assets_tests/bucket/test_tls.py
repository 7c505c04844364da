"""SSL_CERT_FILE and AWS_CA_BUNDLE: every client trusts a private authority only if it is configured."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import obstore
import pytest

from r2_hf_assets.bucket.client import call_with_retry, object_store
from r2_hf_assets.bucket.fetch import fetch_in_order
from r2_hf_assets.bucket.pages import check_access, list_pages
from r2_hf_assets.bucket.response import Fetched
from r2_hf_assets.bucket.transfers import Bucket
from r2_hf_assets.errors import RetriesExhausted, SettingsError
from r2_hf_assets.preflight.bucket import check_bucket
from r2_hf_assets.retry import Retry
from r2_hf_assets.settings import BucketSettings, ca_bundle
from r2_hf_assets_tests.support.objects_server import BUCKET, ObjectsServer, Response

# For 127.0.0.1, with its key; and the authority that signed it, whose key was deleted.
CERTIFICATE = Path(__file__).with_name("loopback.pem")
AUTHORITY = Path(__file__).with_name("authority.pem")
QUICK = Retry(attempts=2, base=0.001)
LISTING = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"

Client = Callable[[BucketSettings], object]


def by_libcurl(r2: BucketSettings) -> None:
    ((_, fetched),) = fetch_in_order(["k"], str, Bucket(r2), workers=1, max_bytes=10, limit=10, retry=QUICK)
    assert isinstance(fetched, Fetched) and fetched.body() == b"x"


def by_obstore(r2: BucketSettings) -> None:
    assert bytes(call_with_retry(QUICK, "GET", lambda: obstore.get(object_store(r2), "k").bytes())) == b"x"


CLIENTS: dict[str, Client] = {
    "libcurl's GETs": by_libcurl,
    "libcurl's listings": lambda r2: list(list_pages(Bucket(r2), "", QUICK)),
    "obstore": by_obstore,
    "check_access": lambda r2: check_access(Bucket(r2), ""),
}


@pytest.fixture
def r2(monkeypatch: pytest.MonkeyPatch) -> Iterator[BucketSettings]:
    for name in ("SSL_CERT_FILE", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("r2_hf_assets.bucket.pages.FIRST_REQUEST", QUICK)
    monkeypatch.setattr("r2_hf_assets.bucket.client.OBSTORE_RETRIES", {"max_retries": 0})
    rule = lambda key, count: Response(200, LISTING) if key.startswith("?") else None  # noqa: E731
    with ObjectsServer({"k": b"x"}, rule, certificate=CERTIFICATE) as server:
        assert server.url.startswith("https://")
        yield BucketSettings(server.url, "key", "secret", BUCKET)


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
def test_a_private_authority_is_trusted_if_configured(
    r2: BucketSettings, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RetriesExhausted, match="AWS_CA_BUNDLE or SSL_CERT_FILE"):
        client(r2)
    for name in ("SSL_CERT_FILE", "AWS_CA_BUNDLE"):
        with monkeypatch.context() as patch:
            patch.setenv(name, str(AUTHORITY))
            client(r2)


def test_aws_ca_bundle_takes_precedence_over_ssl_cert_file(tmp_path: Path) -> None:
    one, other = (shutil.copy(AUTHORITY, tmp_path / name) for name in ("one.pem", "other.pem"))
    assert ca_bundle({"SSL_CERT_FILE": str(one), "AWS_CA_BUNDLE": str(other)}) == str(other)
    assert ca_bundle({"SSL_CERT_FILE": str(one), "AWS_CA_BUNDLE": " "}) == str(one)
    assert Path(ca_bundle({})).is_file()


@pytest.mark.parametrize("text", [None, "", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_file_without_certificates_raises_one_line(
    r2: BucketSettings, text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if text is not None:
        (tmp_path / "bundle.pem").write_text(text)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "bundle.pem"))
    for client in CLIENTS.values():
        with pytest.raises(SettingsError, match=r"^settings: AWS_CA_BUNDLE='.*' must name a file of PEM certificates$"):
            client(r2)


def test_a_certificate_that_only_openssl_can_read_raises_one_line(
    r2: BucketSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted = tmp_path / "trusted.pem"
    trusted.write_text(AUTHORITY.read_text().replace(" CERTIFICATE", " TRUSTED CERTIFICATE"))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(trusted))
    by_libcurl(r2)
    with pytest.raises(SettingsError, match=r"^settings: obstore can't read the certificates in \S*trusted\.pem$"):
        object_store(r2)


def test_doctor_names_the_variables_for_an_untrusted_authority(r2: BucketSettings) -> None:
    (finding,) = check_bucket(r2)
    assert "AWS_CA_BUNDLE or SSL_CERT_FILE" in finding.advice


HUB = """
import sys
from huggingface_hub.utils import get_session
import hf_xet
try:
    print(get_session().get(sys.argv[1] + "/speech/k").text)
except Exception as error:
    print(type(error).__name__)
try:
    hf_xet.upload_bytes([b"x"], sys.argv[1], ("token", 2**40), None, None, "model")
except Exception as error:
    pass
"""


@pytest.mark.parametrize("trusted", [True, False])
def test_the_hubs_clients_read_ssl_cert_file(r2: BucketSettings, trusted: bool) -> None:
    rule = lambda key, count: None  # noqa: E731
    with ObjectsServer({"k": b"x"}, rule, certificate=CERTIFICATE) as server:
        bundle = {"SSL_CERT_FILE": str(AUTHORITY)} if trusted else {}
        env = {**os.environ, "HF_XET_CLIENT_RETRY_MAX_ATTEMPTS": "1", "HF_XET_CLIENT_RETRY_BASE_DELAY": "1ms", **bundle}
        done = subprocess.run(
            [sys.executable, "-c", HUB, server.url], env=env, capture_output=True, text=True, check=True
        )
    assert done.stdout.strip() == ("x" if trusted else "ConnectError")
    assert any(key.startswith("v1/") for key in server.requests) == trusted, "hf_xet"
