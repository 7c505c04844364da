"""What the script left is read as it writes it; what is not understood is refused by name."""

import json

import pytest

from r2_hf_assets.reconcile.script import ScriptError, ScriptPlan, read_progress, read_work_plan

DE = [f"processed/de/{number:016x}/" for number in range(5)]


@pytest.mark.parametrize(("size", "lengths"), [(1000, [5]), (5, [5]), (2, [2, 2, 1]), (1, [1] * 5)])
def test_chunks_are_slices(size: int, lengths: list[int]) -> None:
    plan = read_work_plan(json.dumps({"de": DE, "fra": []}, indent=2).encode(), size)
    assert [len(chunk) for chunk in plan["de"]] == lengths
    assert [prefix for chunk in plan["de"] for prefix in chunk] == DE
    assert plan["fra"] == []


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (b"{", "work_plan.json is no JSON"),
        (b"\xff", "work_plan.json is no JSON"),
        (b"[" * 100_000, "work_plan.json is no JSON"),
        (b"[]", "no object of languages"),
        (b'{"de": {"0": []}}', "de: a list of episode prefixes should be there"),
        (b'{"de": [["processed/de/a/"]]}', "de: ['processed/de/a/'] is no episode prefix"),
    ],
)
def test_a_work_plan_that_is_not_understood(written: bytes, said: str) -> None:
    with pytest.raises(ScriptError) as error:
        read_work_plan(written, 2)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


PLAN: ScriptPlan = {name: [("a",)] * 8 for name in ("de", "123")}


def test_finished_chunks() -> None:
    assert read_progress("de-1\n\nde-0\r\n123-7\nde-1\n", PLAN) == [("de", 1), ("de", 0), ("123", 7)]
    assert read_progress("", PLAN) == []


@pytest.mark.parametrize("line", ["de 7", "de-7 done", "7", "de", "de-", "de-x", "de--", "de-٧"])
def test_a_line_that_is_not_understood_is_named(line: str) -> None:
    with pytest.raises(ScriptError, match=r"^progress.log line 2 is not understood: "):
        read_progress(f"de-0\n{line}\n", PLAN)


@pytest.mark.parametrize("line", ["fr-0", "de-8", "-0"])
def test_a_chunk_that_the_plan_has_not(line: str) -> None:
    with pytest.raises(ScriptError, match=r"line 1: .* is not in the work plan, .* say --episodes-per-chunk"):
        read_progress(line, PLAN)
