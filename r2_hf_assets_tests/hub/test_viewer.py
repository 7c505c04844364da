"""Questions to the dataset viewer, on a local server that responds as its documentation says."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from r2_hf_assets.hub import viewer
from r2_hf_assets.hub.viewer import ViewerAnswer, ask_viewer
from r2_hf_assets.settings import HubSettings

HUB = HubSettings("me/speech", "hf_token", "https://huggingface.co")
VALID = {"preview": True, "viewer": True, "search": False, "filter": True, "statistics": True}
NOTHING = dict.fromkeys(VALID, False)
SIZE = {
    "size": {
        "dataset": {"dataset": "me/speech", "num_bytes_original_files": 10, "num_rows": 2000},
        "configs": [{"dataset": "me/speech", "config": "en", "num_rows": 2000, "num_columns": 6}],
        "splits": [{"dataset": "me/speech", "config": "en", "split": "train", "num_rows": 2000, "num_columns": 6}],
    },
    "pending": [],
    "failed": [],
    "partial": False,
}
FAILED = [{"kind": "config-size", "dataset": "me/speech", "config": config, "split": None} for config in ("fr", "de")]
Response = tuple[int, Any]
GONE = {"error": "The dataset does not exist, or is not accessible without authentication."}


@contextmanager
def stand_in(is_valid: Response, size: Response) -> Iterator[tuple[str, list[str]]]:
    """Yield the address of a server with these responses, and the requests: path, dataset and token."""
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            requests.append(f"{url.path} {parse_qs(url.query)['dataset'][0]} {self.headers['authorization']}")
            status, content = is_valid if url.path == "/is-valid" else size
            body = content.encode() if isinstance(content, str) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("is_valid", "size", "answer"),
    [
        ((200, VALID), (200, SIZE), ViewerAnswer("preview, viewer, filter, statistics", 2000)),
        (
            (200, VALID),
            (200, SIZE | {"failed": FAILED}),
            ViewerAnswer("preview, viewer, filter, statistics", 2000, "configs that failed there: de, fr"),
        ),
        ((200, NOTHING), (200, SIZE), ViewerAnswer(problem="it shows no rows")),
        ((404, GONE), (404, GONE), ViewerAnswer(problem=f"HTTP 404: {GONE['error']}")),
        (
            (200, VALID),
            (500, {"error": "Job manager crashed\nwhile running"}),
            ViewerAnswer("preview, viewer, filter, statistics", None, "HTTP 500: Job manager crashed while running"),
        ),
        ((200, []), (200, SIZE), ViewerAnswer(problem="HTTP 200: None")),
        ((200, VALID), (200, {"size": None}), ViewerAnswer("preview, viewer, filter, statistics")),
    ],
)
def test_what_the_viewer_says(is_valid: Response, size: Response, answer: ViewerAnswer) -> None:
    with stand_in(is_valid, size) as (url, requests):
        assert ask_viewer(HUB, url) == answer
    assert requests[0] == "/is-valid me/speech Bearer hf_token"
    assert requests[1:] in ([], ["/size me/speech Bearer hf_token"])


def test_a_viewer_that_gives_no_json_or_is_down_is_a_problem() -> None:
    with stand_in((200, "a proxy's page"), (200, SIZE)) as (url, _):
        answer = ask_viewer(HUB, url)
    assert answer is not None and answer.problem.startswith(f"no response of {url}/is-valid (")
    answer = ask_viewer(HUB, "http://127.0.0.1:9")
    assert answer is not None and answer.problem == "no response of http://127.0.0.1:9/is-valid (ConnectError)"


def test_only_huggingface_co_has_the_viewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewer, "get_session", lambda: pytest.fail("no request is made"))
    assert ask_viewer(HubSettings("me/speech", "hf_token", "http://127.0.0.1:9")) is None
