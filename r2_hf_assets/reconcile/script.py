"""Reads what the script that this project replaces left in its folder: work_plan.json and progress.log.

    work_plan.json   {"en": [chunk, ...], ...}, or [{"language": "en", "chunk_id": 0, "episodes": [...]}, ...]
                     a chunk: a list of episodes, or an object with "episodes" and its number (else they are counted)
                     an episode: "ep1", "en-US/ep1" or "processed/en-US/ep1/", with or without the slash at the end
    progress.log     a finished chunk a line: en 7, en:7, en/chunk-00007, en|chunk_0007, data/en/chunk-00007.parquet,
                     with a time before it and a word such as DONE around it or not; or {"language": "en", "chunk": 7}

How the script wrote them is laid down nowhere, so every plausible writing is read, and nothing is guessed: what is not
understood is an error that names the line, a line that says FAILED as well. Languages are as the script wrote them.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from r2_hf_assets.errors import R2HfError

# Chunks of a language as the script numbered them from 0: their episodes as it wrote them.
ScriptPlan = dict[str, list[tuple[str, ...]]]

_TIME = r"\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?\]?"
_WORD = r"(?:done|finished|completed?|processed|uploaded|committed|success|ok|info)"
_AROUND = re.compile(
    rf"^(?:{_TIME}|\[?{_WORD}\]?(?![\w|/]|:\d)|[\s:,|-])+|(?:[\s:,|-]+\[?{_WORD}\]?|[\s:,|-]+{_TIME}|\s)+$", re.I
)
_CHUNK = re.compile(r"^(?:data/)?([A-Za-z0-9][\w-]*)[\s:/|,]+(?:chunk)?[-_ ]?(\d{1,9})(?:\.parquet)?$")
_NUMBER = re.compile(r"^(?:chunk)?[-_ ]?(\d{1,9})$")
_NUMBER_NAMES = ("chunk", "chunk_id", "chunk_index", "index", "number", "id")
_EPISODE_NAMES = ("prefix", "key", "path", "episode", "episode_id", "id")


class ScriptError(R2HfError):
    """What the script left can't be read, or contradicts itself or the plan."""


def read_work_plan(data: bytes, name: str = "work_plan.json") -> ScriptPlan:
    """Chunks by the script's language.

    Raises:
        ScriptError: not understood, a chunk is empty, or numbers have gaps.
    """
    try:
        raw = json.loads(data)
    except ValueError as error:
        raise ScriptError(f"{name} is no JSON: {error}") from None
    if isinstance(raw, dict):
        raw = next((raw[key] for key in ("chunks", "languages") if isinstance(raw.get(key), list | dict)), raw)
    numbered: dict[str, dict[int, tuple[str, ...]]] = {}
    for language, number, chunk in _chunks(raw, name):
        chunks = numbered.setdefault(language, {})
        at = len(chunks) if number is None else number
        if at in chunks:
            raise ScriptError(f"{name}: {language} chunk {at} is there twice")
        chunks[at] = _episodes(chunk, f"{name}: {language} chunk {at}")
    return {language: _without_gaps(chunks, f"{name}: {language}") for language, chunks in numbered.items()}


def _chunks(raw: Any, name: str) -> Iterator[tuple[str, int | None, Any]]:
    """(language, number or None, chunk) of every chunk, in the file's order."""
    if isinstance(raw, list):
        for place, item in enumerate(raw):
            if not isinstance(item, dict) or not isinstance(item.get("language"), str):
                raise ScriptError(f'{name}: entry {place} has no "language"')
            yield item["language"], _number(item), item
    elif isinstance(raw, dict):
        for language, chunks in raw.items():
            if isinstance(chunks, dict) and isinstance(chunks.get("chunks"), list):
                chunks = chunks["chunks"]
            if isinstance(chunks, dict):
                for key, chunk in chunks.items():
                    if not _NUMBER.match(key):
                        raise ScriptError(f"{name}: {language}: {key!r} is no chunk's number")
                    yield language, _as_number(key), chunk
            elif isinstance(chunks, list):
                for chunk in chunks:
                    yield language, _number(chunk) if isinstance(chunk, dict) else None, chunk
            else:
                raise ScriptError(f"{name}: {language}: a list of chunks should be there")
    else:
        raise ScriptError(f"{name}: neither languages with their chunks nor a list of chunks")


def _number(chunk: Mapping[str, Any]) -> int | None:
    return next((_as_number(chunk[name]) for name in _NUMBER_NAMES if name in chunk), None)


def _as_number(value: Any) -> int:
    match = _NUMBER.match(str(value).rpartition("|")[2])
    if match is None:
        raise ScriptError(f"{value!r} is no chunk's number")
    return int(match[1])


def _episodes(chunk: Any, where: str) -> tuple[str, ...]:
    found = chunk.get("episodes") if isinstance(chunk, dict) else chunk
    if not isinstance(found, list) or not found:
        raise ScriptError(f"{where} has no episodes")
    names = []
    for item in found:
        if isinstance(item, dict):
            item = next((item[name] for name in _EPISODE_NAMES if name in item), None)
        if not isinstance(item, str) or not item.strip("/"):
            raise ScriptError(f"{where}: {item!r} is no episode")
        names.append(item)
    return tuple(names)


def _without_gaps(chunks: Mapping[int, tuple[str, ...]], where: str) -> list[tuple[str, ...]]:
    for number in range(len(chunks)):
        if number not in chunks:
            raise ScriptError(f"{where}: chunk {number} is missing; chunks must be numbered from 0 without a gap")
    return [chunks[number] for number in range(len(chunks))]


def read_progress(text: str, plan: ScriptPlan, name: str = "progress.log") -> list[tuple[str, int]]:
    """(language, chunk number) of the finished chunks, each once, in the file's order.

    Raises:
        ScriptError: a line is not understood, or names a chunk that the plan has not.
    """
    finished: dict[tuple[str, int], None] = {}
    for place, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        read = _finished(stripped)
        if read is None:
            raise ScriptError(f"{name} line {place} is not understood: {stripped[:80]!r}")
        language, number = read
        if number >= len(plan.get(language, ())):
            raise ScriptError(f"{name} line {place}: {language} chunk {number} is not in the work plan")
        finished[read] = None
    return list(finished)


def _finished(line: str) -> tuple[str, int] | None:
    if line.startswith("{"):
        try:
            raw = json.loads(line)
            number = _number(raw)
        except (ValueError, ScriptError):
            return None
        language = raw.get("language", raw.get("lang"))
        fine = isinstance(language, str) and number is not None and _is_done(raw.get("status", "done"))
        return (language, number or 0) if fine else None
    match = _CHUNK.match(_AROUND.sub("", line))
    return (match[1], int(match[2])) if match else None


def _is_done(status: Any) -> bool:
    return isinstance(status, str) and re.fullmatch(_WORD, status, re.I) is not None
