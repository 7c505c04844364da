"""Keys of every kind in a real bucket: readable ones are built, unreadable ones are reported."""

import unicodedata
from xml.sax.saxutils import escape

import pytest

from r2_hf_assets.bucket.client import open_store
from r2_hf_assets.plan.scan import ScanReport, ScanRules, scan
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets_tests.support.build_samples import PREFIX, audio, build_in_memory, put_episode
from r2_hf_assets_tests.support.world import World, materializations
from r2_hf_sandbox.s3.faults import FOR_EVER, S3Fault

READABLE = {
    "space": "a b",
    "spaces around": " a ",
    "plus": "a+b",
    "percent": "100%",
    "looks encoded": "a%20b%2Fc",
    "hash": "a#b",
    "question mark": "a?b=c",
    "ampersand": "a&b",
    "quotes": "a\"b'c`d",
    "angle brackets": "<a>&amp;",
    "brackets": "[a]{b}(c)",
    "star and tilde": "~a*!",
    "comma": "a,b",
    "pipe": "a|b",
    "equals": "chunk=7",
    "dots": "...",
    "leading dot": ".hidden",
    "NFC": unicodedata.normalize("NFC", "é"),
    "NFD": unicodedata.normalize("NFD", "é"),
    "scripts": "世界 мир עולם",
    "emoji": "\U0001f399",
    "line separator": "a\u2028b",
    "right to left": "a\u202eb",
    "replacement character": "a\ufffdb",
    "long": "x" * 240,
    "looks like a number": "000123",
    "like the metadata": "all_segments.json",
}
UNREADABLE = {"newline": "a\nb", "tab": "a\tb", "delete": "a\x7fb", "SOH": "a\x01b"}


def plan_of(world: World, r2, folder) -> PlanStore:
    return PlanStore(open_store(str(folder / "state"), None), r2.name, PREFIX)


def rescan(world: World, store, r2, folder) -> tuple[ScanReport, list[str]]:
    plan = plan_of(world, r2, folder)
    report = scan(store, plan, ScanRules(frozenset({"en", "unknown"}), episodes_per_chunk=100))
    return report, [episode for chunk in report.new_chunks for episode in chunk.episodes]


def rows_of(report: ScanReport, store) -> dict[str, bytes]:
    rows: dict[str, bytes] = {}
    for chunk in report.new_chunks:
        built = build_in_memory(chunk, store, retry=None)
        assert built.rejects() == [], built.record.tally
        rows |= {row["audio"]["path"]: row["audio"]["bytes"] for row in built.rows()}
    return rows


def put_by_boto(world: World, name: str) -> None:
    """Upload metadata under a name that obstore rejects."""
    world.sandbox.s3.client().put_object(Bucket=world.bucket, Key=f"{PREFIX}{name}/all_segments.json", Body=b"[]")


def test_readable_names_are_planned_and_built_unchanged(world, store, r2, tmp_path):
    episodes = [f"en/{name}" for name in READABLE.values()]
    for episode in episodes:
        put_episode(world.store(), episode, 2)
    report, planned = rescan(world, store, r2, tmp_path)
    assert sorted(planned) == sorted(episodes) and report.unreadable_folders == []
    rows = rows_of(report, store)
    names = [(episode, episode.rsplit("/", 1)[-1], index) for episode in episodes for index in range(2)]
    assert rows == {f"{PREFIX}{e}/{name}_{i:06d}.mp3": audio(e, i) for e, name, i in names}


def test_readable_names_of_language_folders_are_planned_under_unknown(world, store, r2, tmp_path):
    folders = [name for name in READABLE.values() if name != "all_segments.json"]
    for folder in folders:
        put_episode(world.store(), f"{folder}/episode", 1)
    report, planned = rescan(world, store, r2, tmp_path)
    assert sorted(planned) == sorted(f"{folder}/episode" for folder in folders)
    assert sorted(report.unknown_folders) == sorted(folders)
    assert len(rows_of(report, store)) == len(folders)


@pytest.mark.parametrize("name", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("level", ["episode", "language"])
def test_an_unreadable_name_is_reported_and_the_rest_is_planned(world, store, r2, tmp_path, level, name):
    put_episode(world.store(), "en/good", 2)
    put_episode(world.store(), "en/zz", 2)
    put_by_boto(world, f"en/{name}" if level == "episode" else f"{name}/episode")
    report, planned = rescan(world, store, r2, tmp_path)
    assert planned == ["en/good", "en/zz"]
    assert report.unreadable_folders == [f"{PREFIX}en/{name}/" if level == "episode" else f"{PREFIX}{name}/"]
    assert len(rows_of(report, store)) == 4


def listing(prefix: str, *names: str) -> bytes:
    """Return an S3 listing. SeaweedFS can't store empty, `.` and `..` names, but R2 can."""
    below = "".join(f"<CommonPrefixes><Prefix>{escape(prefix + name)}/</Prefix></CommonPrefixes>" for name in names)
    head = f"<Name>b</Name><Prefix>{prefix}</Prefix><Delimiter>/</Delimiter><KeyCount>{len(names)}</KeyCount>"
    return f"<ListBucketResult>{head}<IsTruncated>false</IsTruncated>{below}</ListBucketResult>".encode()


@pytest.mark.parametrize("name", ["", ".", ".."], ids=["empty", "dot", "dot dot"])
@pytest.mark.parametrize("level", ["episode", "language"])
def test_empty_and_dotted_names_are_reported_and_the_rest_is_planned(world, proxy, store, r2, tmp_path, level, name):
    put_episode(world.store(), "en/good", 1)
    put_episode(world.store(), "en/zz", 1)
    if level == "episode":
        body, request = listing(f"{PREFIX}en/", name, "good", "zz"), "prefix=processed%2Fen%2F(&|$)"
    else:
        body, request = listing(PREFIX, name, "en"), "prefix=processed%2F(&|$)"
    proxy.inject(S3Fault(request, status=200, body=body, times=FOR_EVER))
    report, planned = rescan(world, store, r2, tmp_path)
    assert planned == ["en/good", "en/zz"]
    assert report.unreadable_folders == [f"{PREFIX}en/{name}/" if level == "episode" else f"{PREFIX}{name}/"]


def test_stray_objects_and_folder_markers_are_no_episodes(world, store, r2, tmp_path):
    put_episode(world.store(), "en/good", 2)
    client = world.sandbox.s3.client()
    for key in ("README.md", "en/notes.txt", "en/good/cover.jpg", "en/good/deeper/all_segments.json", "en/good/x/y/z"):
        client.put_object(Bucket=world.bucket, Key=PREFIX + key, Body=b"stray")
    for marker in ("", "en/", "en/good/"):
        client.put_object(Bucket=world.bucket, Key=PREFIX + marker, Body=b"")
    report, planned = rescan(world, store, r2, tmp_path)
    assert planned == ["en/good"] and report.unreadable_folders == []
    assert len(rows_of(report, store)) == 2


def test_folders_without_metadata_are_rejected_episodes(world, store, r2, tmp_path):
    put_episode(world.store(), "en/good", 1)
    world.sandbox.s3.client().put_object(Bucket=world.bucket, Key=f"{PREFIX}en/empty/", Body=b"")
    put_episode(world.store(), "en/outer/inner", 1)
    report, planned = rescan(world, store, r2, tmp_path)
    assert planned == ["en/empty", "en/good", "en/outer"]
    built = build_in_memory(report.new_chunks[0], store, retry=None)
    assert (built.record.tally.rows, built.record.tally.rejects) == (1, {"metadata_missing": 2})


def test_a_folder_without_metadata_and_with_a_hostile_object_is_rejected(world, store, r2, tmp_path):
    """The listing of such a folder has a key that obstore rejects."""
    put_episode(world.store(), "en/good", 1)
    world.sandbox.s3.client().put_object(Bucket=world.bucket, Key=f"{PREFIX}en/hostile/a\nb.mp3", Body=b"x")
    report, planned = rescan(world, store, r2, tmp_path)
    assert planned == ["en/good", "en/hostile"]
    built = build_in_memory(report.new_chunks[0], store, retry=None)
    assert (built.record.tally.rows, built.record.tally.rejects) == (1, {"metadata_missing": 1})


def test_the_same_episode_in_two_folders_of_a_language_is_two_episodes(world, store, r2, tmp_path):
    for episode in ("en/same", "en-US/same", "ENG/same"):
        put_episode(world.store(), episode, 2)
    report, planned = rescan(world, store, r2, tmp_path)
    assert sorted(planned) == ["ENG/same", "en-US/same", "en/same"]
    assert len(rows_of(report, store)) == 6


def test_the_run_reports_unreadable_folders(in_process: World):
    world = in_process
    world.upload(episodes={"en": 1}, segments=(2, 2), seconds=(0.3, 0.4))
    put_by_boto(world, "en/a\nb")
    assert world.scan() is None
    assert materializations(world, "work_plan")[0]["unreadable_folders"] == [f"{PREFIX}en/a\nb/"]
    assert world.due() == ["en|chunk_0000"]
