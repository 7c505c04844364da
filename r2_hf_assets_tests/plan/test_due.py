"""Due: planned, and not recorded with the chunk's digest."""

from r2_hf_assets.plan.chunks import ChunkRef
from r2_hf_assets.plan.due import find_due, in_grid

PLAN = [ChunkRef("de", 0, "d0", 5), ChunkRef("en", 0, "e0", 9), ChunkRef("en", 1, "e1", 4)]


def test_without_history_all_chunks_are_due_in_plan_order():
    assert find_due(PLAN, {}) == PLAN


def test_a_chunk_recorded_with_its_digest_is_not_due():
    assert find_due(PLAN, {("en", 0): "e0"}) == [PLAN[0], PLAN[2]]
    assert find_due(PLAN, {("en", 0): "e0", ("de", 0): "d0", ("en", 1): "e1"}) == []


def test_a_chunk_recorded_with_another_digest_is_due():
    assert find_due(PLAN[1:2], {("en", 0): "e1"}) == PLAN[1:2]
    assert find_due(PLAN[1:2], {("de", 0): "e0"}) == PLAN[1:2]


def test_a_chunk_recorded_without_a_digest_is_due():
    assert find_due(PLAN[:1], {("de", 0): None}) == PLAN[:1]


def test_a_recorded_chunk_without_a_plan_is_not_due():
    assert find_due([], {("fr", 3): "f3"}) == []


def test_chunks_of_languages_outside_the_grid_are_left_out():
    assert in_grid(PLAN, {"de", "fr"}) == PLAN[:1]
    assert in_grid(PLAN, {"de", "en"}) == PLAN
