"""Fixtures of the bucket's tests."""

import threading
from collections.abc import Iterator

import pytest

from r2_hf_assets_tests.bucket.listener import Listener


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
