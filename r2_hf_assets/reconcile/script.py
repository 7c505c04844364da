"""Reads what the script that this project replaces left in its folder: work_plan.json and progress.log.

    work_plan.json   {"de": ["processed/de/072235c28fcd7f40/", ...], ...}: episode prefixes in order
    progress.log     a line "de-0" for each finished chunk

Chunk i of a language is the i-th slice of its episodes, EPISODES_PER_CHUNK long; the last one may be shorter. Languages
are as the script wrote them. Whatever is written otherwise is an error that names the place.
"""

import json
import re

from r2_hf_assets.errors import R2HfError

# Chunks of a language as the script numbered them from 0: their episode prefixes.
ScriptPlan = dict[str, list[tuple[str, ...]]]

_LINE = re.compile(r"(.*)-(\d{1,9})", re.ASCII)


class ScriptError(R2HfError):
    """What the script left can't be read, or contradicts itself, the plan or the Hub."""


def read_work_plan(data: bytes, episodes_per_chunk: int, name: str = "work_plan.json") -> ScriptPlan:
    """Chunks by the script's language.

    Raises:
        ScriptError: no object of lists of prefixes.
    """
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ScriptError(f"{name} is no JSON: {str(error).splitlines()[0]}") from None
    if not isinstance(raw, dict):
        raise ScriptError(f"{name}: no object of languages with their episode prefixes")
    plan: ScriptPlan = {}
    for language, prefixes in raw.items():
        if not isinstance(prefixes, list):
            raise ScriptError(f"{name}: {language}: a list of episode prefixes should be there")
        for prefix in prefixes:
            if not isinstance(prefix, str):
                raise ScriptError(f"{name}: {language}: {str(prefix)[:80]} is no episode prefix")
        starts = range(0, len(prefixes), episodes_per_chunk)
        plan[language] = [tuple(prefixes[start : start + episodes_per_chunk]) for start in starts]
    return plan


def read_progress(text: str, plan: ScriptPlan, name: str = "progress.log") -> list[tuple[str, int]]:
    """(language, chunk number) of the finished chunks, each once, in the file's order.

    Raises:
        ScriptError: a line is not understood, or names a chunk that the plan has not.
    """
    finished: dict[tuple[str, int], None] = {}
    for place, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise ScriptError(f"{name} line {place} is not understood: {line.strip()[:80]!r}")
        language, number = match[1], int(match[2])
        chunks = plan.get(language, [])
        if number >= len(chunks):
            raise ScriptError(
                f"{name} line {place}: {language} chunk {number} is not in the work plan, whose {language} is "
                f"{len(chunks)} chunks; was EPISODES_PER_CHUNK another when the script ran? say --episodes-per-chunk"
            )
        finished[language, number] = None
    return list(finished)
