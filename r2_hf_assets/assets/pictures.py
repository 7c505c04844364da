"""Pictures of a chunk and of the plan, as one Markdown entry with SVG images in it: the UI drops raw HTML.

What can be seen at a glance goes into a picture, what can be looked up or added up into the other entries. All pictures
of a materialization together stay below 15 kB, because the event database keeps them for every chunk.
"""

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from dagster import MarkdownMetadataValue, MetadataValue

from r2_hf_assets.assets.progress import LanguageProgress
from r2_hf_assets.shards.build import Build
from r2_hf_assets.shards.observe import Observed
from r2_hf_assets.shards.stats import DNSMOS_EDGES, DURATION_EDGES_S, Speaker, Stats
from r2_hf_assets.svg import AMBER, BLUE, GREEN, GREY, Bar, bars, columns, top

PICTURES = "pictures"

_LANGUAGES = 12
_REASONS = 8
_SLOTS = 40
# Fewer row groups have no course over time worth a picture.
_LEAST_PACE = 3


def chunk_pictures(build: Build) -> dict[str, MarkdownMetadataValue]:
    """What a chunk's audio is like, what was rejected, and how fast it went."""
    return _entry(list(_of_chunk(build.record.stats, build.observed)))


def plan_pictures(languages: Sequence[LanguageProgress]) -> dict[str, MarkdownMetadataValue]:
    """Episodes by language, and how many of the chunks are planned, built and committed.

    What is built now was built for earlier scans: the picture shows how far the dataset was when this scan ended.
    """
    if not languages:
        return {}
    shown, others, rest = top([(item.language, item.episodes) for item in languages], _LANGUAGES)
    by_name = {item.language: item for item in languages}
    kinds = ("planned", "built", "committed")
    legend = [f"{sum(getattr(item, kind) for item in languages):,} {kind}" for kind in kinds]
    left_out = f"{others} other languages" if others else ""
    chunks = bars("Chunks:", [_progress(by_name[name]) for name, _ in shown], (GREY, AMBER, GREEN), left_out, legend)
    episodes = bars(
        f"Episodes planned: {sum(item.episodes for item in languages):,}",
        [Bar(name, (count,), f"{count:,.0f}") for name, count in shown],
        note=f"{left_out}: {rest:,.0f}" if others else "",
    )
    return _entry([("chunks by language", chunks), ("episodes by language", episodes)])


def _progress(item: LanguageProgress) -> Bar:
    counts = (item.planned, item.built, item.committed)
    return Bar(item.language, counts, " / ".join(f"{count:,}" for count in counts))


def _of_chunk(stats: Stats, observed: Observed) -> Iterator[tuple[str, str]]:
    if stats.rows:
        yield "durations", _histogram("Duration, seconds", stats.duration_s, stats.rows, _duration_ticks())
        yield "DNSMOS", _histogram("DNSMOS", stats.dnsmos, stats.rows, _dnsmos_ticks())
        yield "hours by language", _hours("Hours by language", stats.languages)
    if observed.speakers_top:
        yield "hours by speaker", _speakers(observed.speakers_top, stats)
    if stats.rejects:
        shown, others, rest = top(list(stats.rejects.items()), _REASONS)
        rows = [Bar(reason, (count,), f"{count:,.0f}") for reason, count in shown]
        note = f"{others} other reasons: {rest:,.0f}" if others else ""
        yield "rejects by reason", bars(f"Rejected: {sum(stats.rejects.values()):,}", rows, (AMBER,), note)
    if len(observed.pace) >= _LEAST_PACE:
        yield "throughput", _throughput(observed.pace)


def _histogram(title: str, counts: Sequence[int], rows: int, ticks: Sequence[tuple[float, str]]) -> str:
    null = rows - sum(counts)
    return columns(f"{title}: {sum(counts):,} rows" + (f", {null:,} null" if null else ""), counts, ticks)


def _duration_ticks() -> list[tuple[float, str]]:
    return [(0, "0"), *((DURATION_EDGES_S.index(edge) + 1, f"{edge:g}") for edge in (5, 10, 15, 20, 25, 30, 60, 600))]


def _dnsmos_ticks() -> list[tuple[float, str]]:
    return [(index + 1, f"{edge:g}") for index, edge in enumerate(DNSMOS_EDGES) if edge.is_integer()]


def _hours(title: str, seconds: Mapping[str, float]) -> str:
    shown, others, rest = top(list(seconds.items()), _LANGUAGES)
    rows = [Bar(name, (value,), _time(value)) for name, value in shown]
    return bars(title, rows, note=f"{others} others: {_time(rest)}" if others else "")


def _speakers(longest: Sequence[Speaker], stats: Stats) -> str:
    rows = [
        Bar(f"{speaker.episode.rpartition('/')[2]} {speaker.speaker_id}", (speaker.seconds,), _time(speaker.seconds))
        for speaker in longest
    ]
    others, rest = stats.speakers - len(longest), stats.audio_seconds - sum(speaker.seconds for speaker in longest)
    note = f"{others:,} others: {_time(rest)}" if others > 0 else ""
    return bars(f"Hours by speaker: {stats.speakers:,} speakers", rows, (GREEN,), note)


def _throughput(pace: Sequence[tuple[float, int]]) -> str:
    """MB/s in slots of equal length; within a row group its bytes are spread evenly."""
    end, total = pace[-1]
    slot = (end or 1e-9) / _SLOTS
    rates = [0.0] * _SLOTS
    for (start, before), (stop, after) in pairwise([(0.0, 0), *pace]):
        speed = (after - before) / 1e6 / max(stop - start, 1e-9)
        for index in range(int(start / slot), min(_SLOTS, int(stop / slot) + 1)):
            overlap = min(stop, (index + 1) * slot) - max(start, index * slot)
            rates[index] += speed * max(0.0, overlap) / slot
    title = f"MB/s over the build: {total / 1e6 / (end or 1e-9):,.0f} on average, {max(rates):,.0f} at most"
    return columns(title, rates, [(0, "0"), (_SLOTS, _time(end))], BLUE)


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"


def _entry(drawn: Sequence[tuple[str, str]]) -> dict[str, MarkdownMetadataValue]:
    images = [f"![{name}](data:image/svg+xml;base64,{b64encode(svg.encode()).decode()})" for name, svg in drawn]
    return {PICTURES: MetadataValue.md("\n\n".join(images))} if images else {}
