"""Due: planned, and not recorded with the chunk's digest."""

from r2_hf_assets.plan.chunks import ChunkRef
from r2_hf_assets.plan.due import due, in_grid

PLAN = [ChunkRef("de", 0, "d0", 5), ChunkRef("en", 0, "e0", 9), ChunkRef("en", 1, "e1", 4)]


def test_everything_is_due_at_first_in_plan_order():
    assert due(PLAN, {}) == PLAN


def test_what_is_recorded_with_its_digest_is_done():
    assert due(PLAN, {("en", 0): "e0"}) == [PLAN[0], PLAN[2]]
    assert due(PLAN, {("en", 0): "e0", ("de", 0): "d0", ("en", 1): "e1"}) == []


def test_a_record_of_other_members_does_not_count():
    assert due(PLAN[1:2], {("en", 0): "e1"}) == PLAN[1:2]
    assert due(PLAN[1:2], {("de", 0): "e0"}) == PLAN[1:2]


def test_an_unplanned_cell_that_succeeded_is_due_once_it_is_planned():
    assert due(PLAN[:1], {("de", 0): None}) == PLAN[:1]


def test_records_of_unplanned_cells_are_never_due():
    assert due([], {("fr", 3): "f3"}) == []


def test_chunks_of_languages_outside_the_grid_are_counted():
    assert in_grid(PLAN, {"de", "fr"}) == (PLAN[:1], {"en": 2})
    assert in_grid(PLAN, {"de", "en"}) == (PLAN, {})
