"""Room, by itself: who may enter, who waits, and what lets them in."""

import threading

import pytest

from r2_hf_assets.bucket.fetch import Cancelled, Room


class Visitor(threading.Thread):
    """Enters in a thread of its own. `outcome` is "in" or "cancelled" once it is known."""

    def __init__(self, room: Room, turn: int, size: int) -> None:
        super().__init__(daemon=True)
        self.room, self.turn, self.size = room, turn, size
        self.outcome = ""
        self.start()

    def run(self) -> None:
        try:
            self.room.enter(self.turn, self.size)
            self.outcome = "in"
        except Cancelled:
            self.outcome = "cancelled"

    def waits(self) -> bool:
        """Whether it is inside `enter` and not let in, seen while nobody else moves."""
        return self.is_alive() and not self.outcome


def visit(room: Room, turn: int, size: int) -> Visitor:
    """A visitor that is known to wait or to be in."""
    visitor = Visitor(room, turn, size)
    while visitor.is_alive() and turn not in [waiting[0] for waiting in room._waiting]:
        visitor.join(0.001)
    return visitor


def test_bytes_enter_until_the_room_is_full():
    room = Room(100)
    for turn in (1, 2):
        room.enter(turn, 50)
    late = visit(room, 3, 1)
    assert late.waits()
    room.close()
    late.join()
    assert late.outcome == "cancelled"


def test_the_head_enters_a_full_room():
    room = Room(100)
    room.enter(1, 100)
    room.enter(0, 70)
    assert visit(room, 2, 0).outcome == "", "170 of 100 bytes are in: nothing else may come, not even nothing"
    room.close()


def test_an_object_larger_than_the_room_waits_for_its_turn_and_then_passes_alone():
    room = Room(100)
    huge = visit(room, 1, 1000)
    assert huge.waits()
    room.enter(0, 10)
    room.leave(10)
    huge.join()
    assert huge.outcome == "in"
    after = visit(room, 2, 1)
    assert after.waits()
    room.leave(1000)
    after.join()
    assert after.outcome == "in"


def test_leaving_makes_room_for_those_who_wait():
    room = Room(100)
    room.enter(0, 60)
    waiting = visit(room, 5, 60)
    assert waiting.waits()
    room.leave(60)
    waiting.join()
    assert waiting.outcome == "in"


def test_leaving_makes_the_next_turn_the_head_even_when_nothing_was_taken():
    room = Room(10)
    room.enter(2, 10)
    one = visit(room, 1, 50)
    assert one.waits()
    room.leave(0)
    one.join()
    assert one.outcome == "in"


def test_close_cancels_who_waits_and_who_comes_later():
    room = Room(10)
    room.enter(1, 10)
    visitors = [visit(room, turn, 10) for turn in (2, 3, 4)]
    room.close()
    for visitor in visitors:
        visitor.join()
    assert [visitor.outcome for visitor in visitors] == ["cancelled"] * 3
    with pytest.raises(Cancelled):
        room.enter(0, 0)
