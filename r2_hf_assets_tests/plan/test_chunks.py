"""A chunk's digest and manifest: the same members give the same bytes, and anything else is refused."""

import hashlib
import json
from dataclasses import replace

import pytest

from r2_hf_assets.errors import PlanError
from r2_hf_assets.plan.chunks import ChunkManifest, decode, encode
from r2_hf_assets_tests.support.build_samples import chunk_of

CHUNK = chunk_of("en/a", "en-US/b", "en/é 世", number=12)


def test_the_digest_names_members_and_their_order():
    members = b"processed/en/a\nprocessed/en-US/b\nprocessed/en/\xc3\xa9 \xe4\xb8\x96"
    assert CHUNK.digest == hashlib.sha256(members).hexdigest()[:32]
    others = [
        replace(CHUNK, episodes=CHUNK.episodes[::-1]),
        replace(CHUNK, episodes=CHUNK.episodes[:2]),
        replace(CHUNK, prefix="elsewhere/"),
    ]
    assert len({CHUNK.digest, *(other.digest for other in others)}) == 4


def test_a_manifest_is_read_as_it_was_written():
    assert decode(encode(CHUNK), "x.json") == CHUNK
    assert encode(CHUNK) == encode(ChunkManifest("en", 12, "processed/", CHUNK.episodes))


def test_a_manifest_can_be_read_by_people():
    lines = encode(CHUNK).decode().splitlines()
    assert '"en/é 世"' in lines and '"chunk": 12,' in lines


def test_the_keys_of_an_episode():
    assert CHUNK.metadata_key("en-US/b") == "processed/en-US/b/all_segments.json"
    assert CHUNK.audio_prefix("en-US/b") == "processed/en-US/b/b_"


@pytest.mark.parametrize("changes", [{"number": -1}, {"episodes": ()}])
def test_a_chunk_has_a_number_and_an_episode(changes):
    with pytest.raises(PlanError):
        replace(CHUNK, **changes)


def tampered(**changes) -> bytes:
    return json.dumps(json.loads(encode(CHUNK)) | changes).encode()


def test_tampering_that_changes_nothing_is_none():
    assert decode(tampered(), "x.json") == CHUNK


@pytest.mark.parametrize(
    "data",
    [
        tampered(episodes=["en/a"]),
        tampered(episodes=["en-US/b", "en/a", "en/é 世"]),
        tampered(episodes=[]),
        tampered(episodes="en/a"),
        tampered(episodes=None),
        tampered(episodes=[1, 2]),
        tampered(prefix="other/"),
        tampered(prefix=None),
        tampered(digest="0" * 32),
        tampered(version=2),
        tampered(chunk=None),
        tampered(chunk="12"),
        tampered(chunk=-1),
        encode(CHUNK)[:-1],
        encode(CHUNK)[: len(encode(CHUNK)) // 2],
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b'{"version": 1}',
    ],
    ids=range(20),
)
def test_a_manifest_that_is_damaged_or_was_changed_is_refused(data):
    with pytest.raises(PlanError) as caught:
        decode(data, "plan/en/chunk_0012.json")
    assert "\n" not in str(caught.value)
