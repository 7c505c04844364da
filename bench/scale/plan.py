"""A plan of full-sized chunks in a folder: its bytes, and the cost of reading, checking and scanning it again.

A history has chunks of one episode, in the plan of the product.
"""

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import obstore

from r2_hf_assets.bucket.client import open_store
from r2_hf_assets.bucket.listing import LanguageFolder
from r2_hf_assets.languages import LANGUAGES
from r2_hf_assets.plan import scan as scanning
from r2_hf_assets.plan.check import check_plan
from r2_hf_assets.plan.chunks import ChunkManifest, ChunkRef, encode
from r2_hf_assets.plan.store import PlanStore, open_plan
from r2_hf_assets.settings import BucketSettings, load_for_scan


def shares(count: int, languages: int) -> dict[str, int]:
    """Return chunks by language: one each, and of the rest the n-th language has one n-th of the first's."""
    names = LANGUAGES[: min(languages, count)]
    rest, whole = count - len(names), sum(1 / rank for rank in range(1, len(names) + 1))
    counts = {name: 1 + int(rest / rank / whole) for rank, name in enumerate(names, 1)}
    counts[names[0]] += count - sum(counts.values())
    return counts


def add_chunks(count: int, languages: int) -> list[ChunkRef]:
    """Add chunks of one episode to the product's plan, for a history; those that exist are left out."""
    settings = load_for_scan()
    plan = open_plan(settings.plan, settings.r2)
    existing = {chunk.name for chunk in plan.planned()}
    names = [(language, n) for language, chunks in shares(count, languages).items() for n in range(chunks)]
    new = [ChunkManifest(*name, settings.r2.prefix, (f"{name[0]}/{name[1]}",)) for name in names]
    new = [chunk for chunk in new if chunk.name not in existing]
    for chunk in new:
        plan.create(chunk)
    plan.write_index(chunk.ref for chunk in new)
    return [chunk.ref for chunk in new]


def measure(folder: Path, chunks: int, episodes: int, languages: int) -> Iterator[tuple[str, str]]:
    """Yield each measurement and its value."""
    settings = BucketSettings("http://127.0.0.1:1", "none", "none", "podcasts")
    plan = PlanStore(open_store(str(folder), settings), settings.name, settings.prefix)
    plan.check_identity()
    size = 0
    for language, count in shares(chunks, languages).items():
        for number in range(count):
            data = encode(ChunkManifest(language, number, settings.prefix, tuple(_members(language, number, episodes))))
            obstore.put(plan.store, f"plan/{language}/chunk_{number:04d}.json", data)
            size += len(data)
    yield "manifests", f"{chunks:,} of {size / chunks / 1e3:.0f} kB, {size / 1e6:.0f} MB in all"
    yield "all planned chunks, no index yet", _cost(plan.write_index)
    yield "all planned chunks, from the index", _cost(plan.planned)
    yield "the check `plan`, which reads every manifest", _cost(lambda: check_plan(plan))
    yield "a scan that finds nothing new", _cost(lambda: _scan(plan, chunks, episodes, languages))


def _members(language: str, number: int, episodes: int) -> Iterator[str]:
    return (f"{language}/{language}{number:06d}{place:06d}aBcDeFgHiJ" for place in range(episodes))


def _scan(plan: PlanStore, chunks: int, episodes: int, languages: int) -> None:
    """Run the product's scan on a generated listing: docs/performance.md has the pages of a bucket."""
    counts = shares(chunks, languages)
    folders = [LanguageFolder(name, name) for name in counts]

    def listed(_store: Any, _prefix: str, folders: Iterable[LanguageFolder], *_: Any) -> Iterator[Iterator[list[str]]]:
        for folder in folders:
            chunk_members = (_members(folder.name, number, episodes) for number in range(counts[folder.name]))
            yield ([member.partition("/")[2] for member in members] for members in chunk_members)

    rules = scanning.ScanRules(frozenset(counts), episodes)
    with mock.patch.multiple(scanning, list_language_folders=lambda *_: folders, list_episodes=listed):
        report = scanning.scan(mock.Mock(), plan, rules)
    assert report.seen.total() == chunks * episodes and not report.new_chunks


def _cost(job: Callable[[], Any]) -> str:
    """Return wall, CPU, and the process's peak memory so far."""
    wall, cpu = time.perf_counter(), time.process_time()
    job()
    return f"{time.perf_counter() - wall:.1f} s, {time.process_time() - cpu:.1f} CPU s, {_peak_mb()} MB at the most"


def _peak_mb() -> int:
    match = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{os.getpid()}/status").read_text())
    assert match is not None
    return int(match[1]) // 1024
