"""What a purge deletes, leaves and reports, for given lists of stored files and refs."""

from datetime import UTC, datetime, timedelta

import pytest
from huggingface_hub.hf_api import LFSFileInfo

from r2_hf_assets.amend.purge import Purge, Tree, plan_purge, remedy
from r2_hf_assets.hub.client import HubClient, Ref, RemoteFile
from r2_hf_assets.settings import HubSettings

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
MAIN, TAG = Ref("branch", "main", "a1"), Ref("tag", "v1", "b2")
PULL_REQUEST, VIEWER = Ref("pull_request", "3", "c3"), Ref("branch", "refs/convert/parquet", "d4")
CHUNK, OTHER, COPY = "data/en/chunk-00000.parquet", "data/en/chunk-00001.parquet", "default/train/0000.parquet"


def stored(*names: str, age: timedelta = timedelta(days=2)) -> dict[str, LFSFileInfo]:
    pushed = (NOW - age).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return {name: LFSFileInfo(fileOid=name, filename="", oid=name, pushedAt=pushed, size=10) for name in names}


def tree(ref: Ref, **files: str) -> Tree:
    """Return a tree of files by SHA-256."""
    return Tree(ref, tuple(RemoteFile(path, 10, sha256) for sha256, path in files.items()))


def deleted(purge: Purge) -> list[str]:
    return [file.file_oid for file in purge.files]


def test_only_what_nothing_names_is_deleted() -> None:
    files = stored("head", "tagged", "proposed", "viewer", "built", "old")
    trees = [tree(MAIN, head=CHUNK), tree(TAG, tagged=CHUNK), tree(PULL_REQUEST, proposed="x.parquet")]
    trees.append(tree(VIEWER, viewer=COPY))
    purge = plan_purge(files, trees, current={"built"}, earlier={"built", "tagged"}, removed=[], now=NOW)
    assert (deleted(purge), purge.young) == (["old"], 0)


@pytest.mark.parametrize(
    ("hours", "earlier", "is_deleted"), [(25, False, True), (23, False, False), (0, True, True), (-1, False, False)]
)
def test_a_young_file_is_left_unless_an_earlier_build_made_it(hours: int, earlier: bool, is_deleted: bool) -> None:
    """The last: the Hub's clock is ahead."""
    files = stored("file", age=timedelta(hours=hours))
    known = {"file"} if earlier else set[str]()
    purge = plan_purge(files, [tree(MAIN)], current=(), earlier=known, removed=[], now=NOW)
    assert (deleted(purge), purge.young) == ((["file"], 0) if is_deleted else ([], 1))


def test_a_ref_holds_files_of_chunks_with_removals_and_of_unknown_names() -> None:
    head = tree(MAIN, new=CHUNK, other=OTHER)
    trees = [
        head,
        tree(TAG, old=CHUNK, other=OTHER),
        tree(Ref("tag", "v2", "e5"), new=CHUNK, older=OTHER),
        tree(VIEWER, viewer=COPY),
    ]
    purge = plan_purge({}, trees, current=(), earlier=(), removed=[("en", 0)], now=NOW)
    assert purge.holders == (tree(TAG, old=CHUNK), tree(VIEWER, viewer=COPY))
    assert plan_purge({}, trees, current=(), earlier=(), removed=[], now=NOW).holders == ()


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        (TAG, "hf repos tag delete me/speech v1 --type dataset"),
        (Ref("branch", "dev", "f6"), "hf repos branch delete me/speech dev --type dataset"),
        (
            VIEWER,
            "the dataset viewer makes it anew from main; or "
            "hf repos branch delete me/speech refs/convert/parquet --type dataset",
        ),
        (PULL_REQUEST, 'close it, then "Delete ref" at the end of https://hub.test/datasets/me/speech/discussions/3'),
    ],
)
def test_the_remedy_of_a_ref(ref: Ref, expected: str) -> None:
    repo = HubClient(HubSettings("me/speech", "hf_token", "https://hub.test"))
    assert remedy(ref, repo) == expected
