"""The audit: a vulnerability fails, a clean lock passes, an unreachable service is reported and passes.

A local server replaces the service, in OSV's protocol.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from r2_hf_sandbox.processes import free_port

SCRIPT = Path(__file__).parents[1] / "scripts" / "audit.py"
HASH = "--hash=sha256:" + "0" * 64


class Osv(BaseHTTPRequestHandler):
    """Has one vulnerability of each package in `vulnerable`; responds with 503 after `responses_left`."""

    vulnerable: ClassVar[set[str]] = set()
    responses_left = 10**6

    def do_POST(self) -> None:
        Osv.responses_left -= 1
        package = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["package"]
        events = [{"introduced": "0"}, {"fixed": "9.9"}]
        affected = [{"package": package, "ranges": [{"type": "ECOSYSTEM", "events": events}]}]
        known = {"vulns": [{"id": "CVE-0000-1", "aliases": [], "affected": affected}]}
        body = json.dumps(known if package["name"] in self.vulnerable else {}).encode()
        self.send_response(200 if Osv.responses_left >= 0 else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[str]:
    Osv.vulnerable, Osv.responses_left = {"jinja2"}, 10**6
    with ThreadingHTTPServer(("127.0.0.1", 0), Osv) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()
        thread.join()


@pytest.fixture
def lock(tmp_path) -> Path:
    path = tmp_path / "requirements.lock"
    path.write_text(f"sound==1.0 {HASH}\nbad==2.0 {HASH}\n")
    return path


def audit(lock: Path, url: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PIP_AUDIT_VULNERABILITY_SERVICE": "osv", "PIP_AUDIT_OSV_URL": url, "HOME": str(lock.parent)}
    return subprocess.run(
        [sys.executable, str(SCRIPT), str(lock)], env=env, capture_output=True, text=True, check=False, timeout=100
    )


def test_a_clean_lock_passes(service, lock):
    done = audit(lock, service)
    assert (done.returncode, done.stdout) == (0, "audit: nothing known\n")
    assert "2 packages queried, 0 unknown" in done.stderr


def test_a_vulnerability_fails_with_the_list(service, lock):
    Osv.vulnerable.add("bad")
    done = audit(lock, service)
    assert (done.returncode, done.stdout) == (1, "bad 2.0: CVE-0000-1, fixed in 9.9\n")


def test_an_unreachable_service_passes_with_a_line(lock):
    done = audit(lock, f"http://127.0.0.1:{free_port()}/v1/query")
    assert (done.returncode, done.stdout) == (0, "")
    assert len(done.stderr.splitlines()) == 1 and "can't be reached" in done.stderr


def test_an_empty_service_passes_as_unreachable(service, lock):
    Osv.vulnerable.clear()
    done = audit(lock, service)
    assert (done.returncode, done.stdout) == (0, "") and "can't be reached" in done.stderr


def test_a_service_that_stops_responding_passes_with_a_line(service, lock):
    Osv.responses_left = 2
    done = audit(lock, service)
    assert (done.returncode, done.stdout) == (0, "") and "stopped responding" in done.stderr


def test_an_unreadable_lock_fails(service, lock):
    lock.write_text("sound is not a requirement\n")
    done = audit(lock, service)
    assert done.returncode == 1 and "can't be read" in done.stderr and len(done.stderr.splitlines()) == 1
