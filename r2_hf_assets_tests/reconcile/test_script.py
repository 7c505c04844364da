"""What the script left, in every plausible writing; and what is not understood, refused by name."""

import json
from typing import Any

import pytest

from r2_hf_assets.reconcile.script import ScriptError, ScriptPlan, read_progress, read_work_plan

EN, DE = [("en/a", "en/b"), ("en/c",)], [("de/x",)]


@pytest.mark.parametrize(
    "written",
    [
        {"en": [["en/a", "en/b"], ["en/c"]], "de": [["de/x"]]},
        {"en": [{"episodes": ["en/a", "en/b"]}, {"episodes": ["en/c"]}], "de": {"chunks": [["de/x"]]}},
        {"en": {"chunk_0001": ["en/c"], "chunk_0000": ["en/a", "en/b"]}, "de": {"0": {"episodes": ["de/x"]}}},
        {"languages": {"en": [["en/a", "en/b"], ["en/c"]], "de": [["de/x"]]}, "created": "2026"},
        [
            {"language": "en", "chunk_id": 1, "episodes": ["en/c"]},
            {"language": "de", "chunk_id": 0, "episodes": ["de/x"]},
            {"language": "en", "chunk_id": 0, "episodes": ["en/a", "en/b"]},
        ],
        {
            "chunks": [
                {"language": "en", "chunk": "chunk-00000", "episodes": [{"path": "en/a"}, {"episode": "en/b"}]},
                {"language": "en", "chunk": "en|chunk_0001", "episodes": ["en/c"]},
                {"language": "de", "episodes": ["de/x"]},
            ]
        },
    ],
)
def test_writings_of_a_work_plan(written: Any) -> None:
    assert read_work_plan(json.dumps(written).encode()) == {"en": EN, "de": DE}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (b"{", "work_plan.json is no JSON"),
        (b"7", "neither languages with their chunks nor a list"),
        (b'{"en": 7}', "en: a list of chunks should be there"),
        (b'{"en": [[]]}', "en chunk 0 has no episodes"),
        (b'{"en": [["a"], 7]}', "en chunk 1 has no episodes"),
        (b'{"en": [["a", 7]]}', "en chunk 0: 7 is no episode"),
        (b'{"en": [["/"]]}', "en chunk 0: '/' is no episode"),
        (b'{"en": {"first": ["a"]}}', "'first' is no chunk's number"),
        (b'{"en": {"1": ["a"]}}', "en: chunk 0 is missing"),
        (b'[["a"]]', 'entry 0 has no "language"'),
        (
            b'[{"language": "en", "chunk": 0, "episodes": ["a"]}, {"language": "en", "chunk": 0, "episodes": ["b"]}]',
            "twice",
        ),
        (b'[{"language": "en", "chunk": "last", "episodes": ["a"]}]', "'last' is no chunk's number"),
    ],
)
def test_a_work_plan_that_is_not_understood(written: bytes, said: str) -> None:
    with pytest.raises(ScriptError) as error:
        read_work_plan(written)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


PLAN: ScriptPlan = {name: [("a",)] * 8 for name in ("en", "en-US", "123", "id")}


@pytest.mark.parametrize(
    ("line", "chunk"),
    [
        ("en 7", ("en", 7)),
        ("en:7", ("en", 7)),
        ("en/7", ("en", 7)),
        ("en, 7", ("en", 7)),
        ("en chunk 7", ("en", 7)),
        ("en/chunk-00007", ("en", 7)),
        ("en|chunk_0007", ("en", 7)),
        ("en chunk_0007", ("en", 7)),
        ("data/en/chunk-00007.parquet", ("en", 7)),
        ("en-US:3", ("en-US", 3)),
        ("123/chunk-00001", ("123", 1)),
        ("  en 7\r", ("en", 7)),
        ("2026-01-02 03:04:05 en 7", ("en", 7)),
        ("2026-01-02T03:04:05.123+00:00 en/chunk-00007 DONE", ("en", 7)),
        ("[2026-01-02 03:04:05,678] INFO: done: en:7", ("en", 7)),
        ("2026-01-02 03:04 - INFO - en|chunk_0007 - completed", ("en", 7)),
        ("DONE en 7", ("en", 7)),
        ("en 7 [done] 2026-01-02T03:04:05Z", ("en", 7)),
        ('{"language": "en", "chunk": 7}', ("en", 7)),
        ('{"lang": "en-US", "chunk_id": "chunk_0007", "status": "done", "rows": 12}', ("en-US", 7)),
        ('{"language": "id", "chunk": 0}', ("id", 0)),
    ],
)
def test_writings_of_a_finished_chunk(line: str, chunk: tuple[str, int]) -> None:
    assert read_progress(line, PLAN) == [chunk]


def test_blank_lines_and_comments_and_a_chunk_done_twice() -> None:
    assert read_progress("# mine\n\nen 1\nen 0\nen/chunk-00001\n", PLAN) == [("en", 1), ("en", 0)]


@pytest.mark.parametrize(
    "line",
    [
        "en 7 FAILED",
        "FAILED en 7",
        "en 7 done?",
        "7",
        "en",
        "done 7",
        "en seven",
        "en/chunk-00007-part-01.parquet",
        "processing en 7",
        "[2026-01-02] starting",
        '{"language": "en", "chunk": 7',
        '{"language": "en", "chunk": 7, "status": "failed"}',
        '{"chunk": 7}',
        '{"language": "en"}',
        "{}",
    ],
)
def test_a_line_that_is_not_understood_is_named(line: str) -> None:
    with pytest.raises(ScriptError) as error:
        read_progress(f"en 0\n{line}\n", PLAN)
    assert "line 2" in str(error.value)


@pytest.mark.parametrize("line", ["fr 0", "en 8"])
def test_a_chunk_that_the_plan_has_not(line: str) -> None:
    with pytest.raises(ScriptError, match=r"line 1: .* is not in the work plan"):
        read_progress(line, PLAN)
