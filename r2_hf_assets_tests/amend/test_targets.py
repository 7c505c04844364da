"""What a user names: episodes, speakers, audio keys."""

import pytest
from obstore.store import MemoryStore

from r2_hf_assets.amend.targets import find_targets, locate
from r2_hf_assets.errors import R2HfError
from r2_hf_assets.plan.amendments import Target
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets_tests.support.build_samples import NO_WAIT, PREFIX, chunk_of

EN0, EN1 = ("en", 0), ("en", 1)


@pytest.fixture
def plan() -> PlanStore:
    store = PlanStore(MemoryStore(), "podcasts", PREFIX, NO_WAIT)
    store.check_identity()
    for number, episodes in enumerate((("en/a", "en-US/b"), ("en/c", "en/c:d"))):
        assert store.create(chunk_of(*episodes, number=number))
    return store


@pytest.mark.parametrize(
    ("word", "target"),
    [
        ("en/a", Target("en/a", EN0)),
        ("en/a/", Target("en/a", EN0)),
        ("processed/en/a", Target("en/a", EN0)),
        ("processed/en/a/", Target("en/a", EN0)),
        ("processed/en-US/b/all_segments.json", Target("en-US/b", EN0)),
        ("en/a:SPEAKER_01", Target("en/a", EN0, speaker="SPEAKER_01")),
        ("en/c:d", Target("en/c:d", EN1)),
        ("en/c:d:e", Target("en/c:d", EN1, speaker="e")),
        ("en/c:e", Target("en/c", EN1, speaker="e")),
        ("processed/en/a/a_000012.mp3", Target("en/a", EN0, segment=12)),
        ("processed/en/a/a_1000000.mp3", Target("en/a", EN0, segment=1_000_000)),
        ("en/a:A:B", Target("en/a", EN0, speaker="A:B")),
        ("en/a:A/B C", Target("en/a", EN0, speaker="A/B C")),
        ("en/c:d:e:f", Target("en/c:d", EN1, speaker="e:f")),
        ("en/new", Target("en/new")),
        ("en/new:S", Target("en/new", speaker="S")),
    ],
)
def test_a_word_names(plan: PlanStore, word: str, target: Target) -> None:
    assert find_targets([word], plan, lambda episode: episode == "en/new") == [target]


@pytest.mark.parametrize(
    "word",
    [
        "en/x",
        "a",
        "",
        "/",
        "en/",
        "/a",
        "en/a/b",
        "en/\udcff",
        "en/a/a_000000.mp3",
        "other/en/a/a_000000.mp3",
        "processed/en/a/b_000000.mp3",
        "processed/en/a/a_12.mp3",
        "processed/en/a.mp3",
    ],
)
def test_anything_else_is_refused_in_one_line(plan: PlanStore, word: str) -> None:
    with pytest.raises(R2HfError) as error:
        find_targets(["en/a", word], plan, lambda episode: False)
    assert "\n" not in str(error.value) and "nothing" in str(error.value)
    str(error.value).encode()  # it can be printed


def test_locate_reads_no_plan_for_nothing(plan: PlanStore, monkeypatch: pytest.MonkeyPatch) -> None:
    assert locate(plan, {"en/c", "en-US/b", "en/x"}) == {"en/c": EN1, "en-US/b": EN0}
    monkeypatch.setattr(PlanStore, "read_many", None)
    assert locate(plan, set()) == {}
