"""A chunk's digest and manifest: the same members give the same bytes, and a changed manifest is rejected."""

import hashlib
import json
from dataclasses import replace

import pytest

from r2_hf_assets.errors import PlanError
from r2_hf_assets.plan.chunks import ChunkManifest, decode, encode
from r2_hf_assets_tests.support.build_samples import chunk_of

CHUNK = chunk_of("en/a", "en-US/b", "en/é 世", number=12)


def test_the_digest_depends_on_members_order_and_prefix():
    members = b"processed/en/a\nprocessed/en-US/b\nprocessed/en/\xc3\xa9 \xe4\xb8\x96"
    assert CHUNK.digest == hashlib.sha256(members).hexdigest()[:32]
    others = [
        replace(CHUNK, episodes=CHUNK.episodes[::-1]),
        replace(CHUNK, episodes=CHUNK.episodes[:2]),
        replace(CHUNK, prefix="elsewhere/"),
    ]
    assert len({CHUNK.digest, *(other.digest for other in others)}) == 4


def test_a_manifest_round_trips():
    assert decode(encode(CHUNK), "x.json") == CHUNK
    assert encode(CHUNK) == encode(ChunkManifest("en", 12, "processed/", CHUNK.episodes))


def test_a_manifest_is_readable_json():
    lines = encode(CHUNK).decode().splitlines()
    assert '"en/é 世"' in lines and '"chunk": 12,' in lines


def test_episode_keys():
    assert CHUNK.metadata_key("en-US/b") == "processed/en-US/b/all_segments.json"
    assert CHUNK.audio_prefix("en-US/b") == "processed/en-US/b/b_"
    assert CHUNK.audio_key("en-US/b", 7) == "processed/en-US/b/b_000007.mp3"
    assert CHUNK.audio_key("en-US/b", 1_234_567) == "processed/en-US/b/b_1234567.mp3"


@pytest.mark.parametrize("changes", [{"number": -1}, {"episodes": ()}])
def test_a_chunk_without_a_number_or_episodes_is_rejected(changes):
    with pytest.raises(PlanError):
        replace(CHUNK, **changes)


def tampered(**changes) -> bytes:
    return json.dumps(json.loads(encode(CHUNK)) | changes).encode()


def test_a_reformatted_manifest_is_accepted():
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
def test_a_damaged_or_changed_manifest_is_rejected(data):
    with pytest.raises(PlanError) as caught:
        decode(data, "plan/en/chunk_0012.json")
    assert "\n" not in str(caught.value)
