"""Room, by itself: who may enter, who waits, and what lets them in."""

from r2_hf_assets.bucket.room import Room


def test_bytes_enter_until_the_room_is_full():
    room = Room(100)
    assert room.enter(1, 50) and room.enter(2, 50)
    assert not room.waiting
    assert not room.enter(3, 1)
    assert room.waiting and room.admitted() == []


def test_the_head_enters_a_full_room():
    room = Room(100)
    assert room.enter(1, 100)
    assert room.enter(0, 70)
    assert not room.enter(2, 0), "170 of 100 bytes are in: nothing else may come, not even nothing"


def test_an_object_larger_than_the_room_waits_for_its_turn_and_then_passes_alone():
    room = Room(100)
    assert not room.enter(1, 1000)
    assert room.enter(0, 10), "the head does not stand in line"
    room.leave(0)
    assert room.admitted() == [1]
    assert not room.enter(2, 1)
    room.leave(1)
    assert room.admitted() == [2]


def test_leaving_makes_room_for_those_who_wait():
    room = Room(100)
    assert room.enter(0, 60)
    assert not room.enter(5, 60)
    room.leave(0)
    assert room.admitted() == [5]
    assert not room.waiting


def test_those_who_wait_are_let_in_by_turn_and_none_passes_another():
    room = Room(100)
    assert room.enter(0, 100)
    for turn, size in ((4, 10), (2, 60), (3, 60)):
        assert not room.enter(turn, size)
    room.leave(0)
    assert room.admitted() == [2], "3 has no room, and 4 is not let in before it"
    assert not room.enter(5, 1), "nor anybody who comes later"
    room.leave(1)
    room.leave(2)
    assert room.admitted() == [3, 4, 5]


def test_leaving_makes_the_next_turn_the_head_even_when_nothing_was_taken():
    room = Room(10)
    assert room.enter(2, 10)
    assert not room.enter(1, 50)
    room.leave(0)
    assert room.admitted() == [1]


def test_a_turn_that_withdraws_holds_nothing_and_may_enter_again():
    room = Room(100)
    assert room.enter(1, 80) and not room.enter(2, 40) and not room.enter(3, 50)
    room.withdraw(2)
    room.withdraw(7)
    assert room.admitted() == [], "80 bytes are in, and 50 wait"
    room.withdraw(1)
    assert room.admitted() == [3]
    assert room.enter(2, 40) and not room.enter(1, 20)
    room.leave(0)
    assert room.admitted() == [1], "the next one to be taken always enters"
