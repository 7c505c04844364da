"""The writes that obstore sends: R2 rejects the checksum trailers that some clients add, with a misleading 401."""

import obstore

from r2_hf_assets.bucket.client import object_store
from r2_hf_assets_tests.bucket.listener import Listener


def test_writes_have_no_checksum_trailers(listener: Listener) -> None:
    obstore.put(object_store(listener.settings()), "state/b.json", b"{}")
    obstore.put(object_store(listener.settings()), "state/c.json", b"{}", mode="create")
    assert [path for _, path, _, _ in listener.requests] == [f"/podcasts/state/{name}.json" for name in "bc"]
    for _, _, headers, body in listener.requests:
        assert body == b"{}"
        assert not [name for name in headers if name.startswith("x-amz-checksum") or name == "x-amz-trailer"]
        assert "aws-chunked" not in headers.get("content-encoding", "")
        assert not headers["x-amz-content-sha256"].startswith("STREAMING")
        assert "/auto/s3/aws4_request" in headers["authorization"]


def test_a_manifest_is_created_only_if_it_does_not_exist(listener: Listener) -> None:
    obstore.put(object_store(listener.settings()), "state/c.json", b"{}", mode="create")
    ((_, _, headers, _),) = listener.requests
    assert headers["if-none-match"] == "*"
