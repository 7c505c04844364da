"""The product's client on a new, private repo: of the sandbox's Hub, or CONTRACT_REPO on the user's (places.py).

The tests share the repo, and need no order.
"""

import hashlib
import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from r2_hf_assets.hub.card.merge import CARD_PATH
from r2_hf_assets.hub.client import HubClient, TagTaken
from r2_hf_assets.hub.commit import CommitRecord, commit_chunk, files_of_record, prepare_repo
from r2_hf_assets.hub.ownership import OWNER_PATH, Claim
from r2_hf_assets.hub.reads import check_on_hub
from r2_hf_assets.hub.storage import lfs_files, squash_history
from r2_hf_assets.settings import HubSettings
from r2_hf_assets.shards.record import BuildRecord
from r2_hf_assets_tests.contract.places import HUBS, new_repo, own_hub
from r2_hf_assets_tests.hub.uploads import upload_chunk

PLAN_ID = "0" * 32
_rng = random.Random()  # content that the Hub does not store yet
_numbers = itertools.count(7)


@pytest.fixture(scope="module", params=HUBS)
def settings(request: pytest.FixtureRequest) -> Iterator[HubSettings]:
    """The settings of a repo that does not exist, and is deleted at the end if it was created."""
    if request.param == "own":
        with own_hub() as own:
            yield own
        return
    hub = request.getfixturevalue("hub")
    with new_repo(HubSettings(f"{hub.user}/contract", hub.token, hub.endpoint, private=True)) as new:
        yield new


@pytest.fixture
def client(settings: HubSettings) -> HubClient:
    """The product's client of the repo, which it creates if need be."""
    client = HubClient(settings)
    prepare_repo(client, claim())
    return client


def claim(*known: BuildRecord) -> Claim:
    sha256s = {record.name: record.sha256s for record in known}
    return Claim(PLAN_ID, lambda _: sha256s, lambda *_: True)


def bodies(*sizes: int) -> list[bytes]:
    return [b"PAR1" + _rng.randbytes(size) for size in sizes]


def commit_one(client: HubClient, folder: Path) -> tuple[BuildRecord, CommitRecord]:
    """Upload and commit a new chunk of one file."""
    record = upload_chunk(client, folder, *bodies(10_000), number=next(_numbers))
    return record, commit_chunk(client, record, claim())


def test_a_private_repo_is_created_once(client: HubClient) -> None:
    head = client.head()
    prepare_repo(client, claim())
    assert client.head() == head is not None
    assert client.api.dataset_info(client.repo_id).private is True


@pytest.mark.parametrize("over", ["Xet", "LFS"])
def test_a_chunk_is_uploaded_committed_and_reads_back(
    client: HubClient, over: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if over == "LFS":
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        client = HubClient(_settings_of(client))
    assert (client.xet() is None) == (over == "LFS")
    parts = bodies(2_000_000, 300_000)
    record = upload_chunk(client, tmp_path, *parts, index=b"PAR1" + over.encode(), number=next(_numbers))
    done = commit_chunk(client, record, claim())
    assert done.committed and sorted(done.added) == sorted(files_of_record(record)) and done.removed == ()
    assert commit_chunk(client, record, claim(record)).committed is False  # as after a lost response
    assert check_on_hub(client, record, done.oid).passed
    for file, part in zip(record.files, parts, strict=True):
        with client.open_file(file.path, done.oid) as opened:
            assert hashlib.sha256(opened.read()).hexdigest() == hashlib.sha256(part).hexdigest() == file.sha256
            opened.seek(1_000)
            assert opened.read(1_000) == part[1_000:2_000]
    assert client.read(OWNER_PATH, done.oid) is not None and client.read(CARD_PATH, done.oid) is not None
    assert client.read("absent", done.oid) is None


def test_a_chunk_that_is_built_again_replaces_its_files(client: HubClient, tmp_path: Path) -> None:
    number = next(_numbers)
    first = upload_chunk(client, tmp_path, *bodies(100_000, 50_000), number=number)
    commit_chunk(client, first, claim())
    second = upload_chunk(client, tmp_path, *bodies(60_000), number=number)
    done = commit_chunk(client, second, claim(first))
    assert (len(done.added), len(done.removed)) == (1, 2)
    assert set(client.files([file.path for file in first.files], done.oid)) == set()


def test_a_commit_on_an_old_head_is_refused_and_repeated_on_the_new_one(
    client: HubClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = upload_chunk(client, tmp_path, *bodies(10_000), number=next(_numbers))
    real = client.commit
    parents: list[str] = []

    def commit(files, deleted, parent, *arguments):
        if not parents:
            real([], [], parent, "Another client's", {"other.txt": b"1"})
        parents.append(parent)
        return real(files, deleted, parent, *arguments)

    monkeypatch.setattr(client, "commit", commit)
    assert commit_chunk(client, record, claim()).committed
    assert len(set(parents)) == len(parents) == 2


def test_content_that_was_never_uploaded_is_refused(client: HubClient, tmp_path: Path) -> None:
    (body,) = bodies(1_000)
    record = upload_chunk(client, tmp_path, body, number=next(_numbers))
    stored = list(files_of_record(record).values())
    absent = [replace(stored[0], sha256=hashlib.sha256(b"absent" + body).hexdigest())]
    assert client.has_content(stored) and not client.has_content(absent)


def test_a_tag_names_one_commit(client: HubClient, tmp_path: Path) -> None:
    (_, earlier), (_, head) = commit_one(client, tmp_path), commit_one(client, tmp_path)
    assert [commit.oid for commit in client.commits("main")[:2]] == [head.oid, earlier.oid]
    client.create_tag("v1", head.oid, "a release")
    client.create_tag("v1", head.oid, "a release")
    with pytest.raises(TagTaken):
        client.create_tag("v1", earlier.oid, "another")
    assert ("tag", "v1", head.oid) in {(ref.kind, ref.name, ref.revision) for ref in client.refs()}


def test_a_card_is_validated(client: HubClient) -> None:
    assert client.validate_card(b"---\nlicense: cc-by-4.0\n---\n") == ""
    assert client.validate_card(b"---\nlicense: [\n---\n") != ""


def test_a_squash_leaves_one_commit_and_every_file(client: HubClient, tmp_path: Path) -> None:
    commit_one(client, tmp_path)
    before = client.list_files("data", "main")
    squash_history(client, "Squash")
    assert len(client.commits("main")) == 1
    assert client.list_files("data", "main") == before != {}
    assert {file.sha256 for file in before.values()} <= set(lfs_files(client))


def _settings_of(client: HubClient) -> HubSettings:
    return HubSettings(client.repo_id, str(client.api.token), client.endpoint, private=True)
