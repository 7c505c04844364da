"""ByteBudget: what is acquired at once, what waits, and the order of grants."""

from r2_hf_assets.bucket.byte_budget import ByteBudget


def test_bytes_are_acquired_until_the_budget_is_used_up():
    budget = ByteBudget(100)
    assert budget.try_acquire(1, 50) and budget.try_acquire(2, 50)
    assert not budget.waiting
    assert not budget.try_acquire(3, 1)
    assert budget.waiting and budget.granted() == []


def test_the_next_body_is_granted_beyond_the_budget():
    budget = ByteBudget(100)
    assert budget.try_acquire(1, 100)
    assert budget.try_acquire(0, 70)
    assert not budget.try_acquire(2, 0), "170 of 100 bytes are held: nothing else is granted, not even 0 bytes"


def test_an_object_larger_than_the_budget_is_granted_alone_when_it_is_next():
    budget = ByteBudget(100)
    assert not budget.try_acquire(1, 1000)
    assert budget.try_acquire(0, 10), "the next body overtakes those that wait"
    budget.release(0)
    assert budget.granted() == [1]
    assert not budget.try_acquire(2, 1)
    budget.release(1)
    assert budget.granted() == [2]


def test_a_release_grants_a_waiting_body():
    budget = ByteBudget(100)
    assert budget.try_acquire(0, 60)
    assert not budget.try_acquire(5, 60)
    budget.release(0)
    assert budget.granted() == [5]
    assert not budget.waiting


def test_waiting_bodies_are_granted_in_order():
    budget = ByteBudget(100)
    assert budget.try_acquire(0, 100)
    for index, size in ((4, 10), (2, 60), (3, 60)):
        assert not budget.try_acquire(index, size)
    budget.release(0)
    assert budget.granted() == [2], "3 does not fit, and 4 is not granted before it"
    assert not budget.try_acquire(5, 1), "nor any later body"
    budget.release(1)
    budget.release(2)
    assert budget.granted() == [3, 4, 5]


def test_a_release_without_bytes_makes_the_following_body_the_next():
    budget = ByteBudget(10)
    assert budget.try_acquire(2, 10)
    assert not budget.try_acquire(1, 50)
    budget.release(0)
    assert budget.granted() == [1]


def test_a_canceled_body_holds_nothing_and_may_acquire_again():
    budget = ByteBudget(100)
    assert budget.try_acquire(1, 80) and not budget.try_acquire(2, 40) and not budget.try_acquire(3, 50)
    budget.cancel(2)
    budget.cancel(7)
    assert budget.granted() == [], "80 bytes are held, and 50 wait"
    budget.cancel(1)
    assert budget.granted() == [3]
    assert budget.try_acquire(2, 40) and not budget.try_acquire(1, 20)
    budget.release(0)
    assert budget.granted() == [1], "the body that is taken next is always granted"
