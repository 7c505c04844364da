"""What is known of the plan: exact, topped up, a piece at a time, and never of a plan that is no more."""

import shutil
from collections.abc import Callable
from pathlib import Path

import obstore
import pytest

from r2_hf_assets.plan import known as module
from r2_hf_assets.plan import store as store_module
from r2_hf_assets.plan.chunks import Chunk
from r2_hf_assets.plan.known import Known
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets_tests.build_samples import PREFIX, Flaky, use_obstore


def add(plan: PlanStore, language: str, number: int, *episodes: str) -> None:
    assert plan.create(Chunk(language, number, PREFIX, episodes))


def chunks(plan: PlanStore) -> dict[str, int]:
    return {language: len(numbers) for language, numbers in plan.numbers().items()}


def always() -> bool:
    return True


def never() -> bool:
    return False


def ticks(count: int) -> Callable[[], bool]:
    left = iter([True] * (count - 1))
    return lambda: next(left, False)


def test_it_knows_what_is_planned_and_nothing_else(plan: PlanStore) -> None:
    names = [f"en/{n:04d}" for n in range(1000)]
    for number in range(10):
        add(plan, "en", number, *names[number * 100 : number * 100 + 100])
    add(plan, "de", 0, "de/0001", "deu/x")
    known = Known()
    assert known.learn(plan, chunks(plan), always)
    assert all(known.has("en", name) for name in names)
    assert known.has("de", "deu/x")
    for language, name in (("en", "en/1000"), ("en", "de/0001"), ("de", "en/0001"), ("fr", "fr/a"), ("en", "")):
        assert not known.has(language, name)
    assert (known.chunks, known.episodes) == (11, 1002)


def test_it_is_topped_up_and_reads_no_manifest_twice(plan: PlanStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        add(plan, "en", number, f"en/{number}")
    known = Known()
    assert known.learn(plan, chunks(plan), always)
    add(plan, "en", 5, "en/0a")  # sorts into the middle
    read = Flaky(obstore.get, times=0)
    use_obstore(monkeypatch, store_module, get=read)
    assert known.learn(plan, chunks(plan), always)
    assert known.has("en", "en/0a") and known.has("en", "en/4")
    assert sorted(read.calls) == ["plan/en/chunk_0004.json", "plan/en/chunk_0005.json"], "the newest is looked at again"


def test_it_learns_in_pieces(plan: PlanStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_READ_AT_ONCE", 4)
    for number in range(10):
        add(plan, "en", number, f"en/{number}")
    known = Known()
    assert not known.learn(plan, chunks(plan), never)
    assert known.chunks == 4 and known.has("en", "en/3") and not known.has("en", "en/4")
    assert not known.learn(plan, chunks(plan), never)
    assert known.learn(plan, chunks(plan), never), "the last piece is the end"
    assert known.chunks == 10 and known.has("en", "en/9")


def test_two_batches_in_one_piece(plan: PlanStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_READ_AT_ONCE", 2)
    for number in range(5):
        add(plan, "en", number, f"en/{number}")
    known = Known()
    assert not known.learn(plan, chunks(plan), ticks(2))
    assert known.chunks == 4


@pytest.mark.parametrize("regrown", [1, 2, 3])
def test_a_plan_that_was_replaced_is_learned_anew(plan: PlanStore, tmp_path: Path, regrown: int) -> None:
    add(plan, "en", 0, "en/a")
    add(plan, "en", 1, "en/b")
    known = Known()
    assert known.learn(plan, chunks(plan), always)
    shutil.rmtree(tmp_path / "state" / "plan")
    for number in range(regrown):
        add(plan, "en", number, f"en/other{number}")
    assert known.learn(plan, chunks(plan), always)
    assert not known.has("en", "en/a") and not known.has("en", "en/b")
    assert known.has("en", "en/other0") and known.chunks == regrown
