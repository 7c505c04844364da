"""Generate the figures on the card: keys of its YAML, and the section between the markers.

`datasets` reads an Audio feature from a file only when the struct is <bytes, path>, and the shards' is <path, bytes>;
but it casts either to the features that the card declares. So the first commit to a repo without a README adds CARD:
without it load_dataset and the viewer do not play the audio, and take indexes for data. `dataset_info` has no splits:
`datasets` rejects more rows than they declare, so loading would fail between a chunk's commit and the next card.

`datasets` resolves the files of the first config, whichever is loaded, and raises without any. So CARD begins with the
indexes, which even a chunk without rows has; a card with figures, which has rows, ends with them, if there are any.

The stamp is the time and the revision of the figures. A new stamp alone is not committed. The changelog comes after it,
so that no note of a release can be taken for the stamp.
"""

import hashlib
import json
import re
from dataclasses import astuple, dataclass
from typing import Any

from tqdm import tqdm

from r2_hf_assets.hub.card.changelog import changelog
from r2_hf_assets.hub.card.facts import CardFacts
from r2_hf_assets.hub.card.merge import ALL, BEGIN, END, INDEX, dump
from r2_hf_assets.languages import UNKNOWN
from r2_hf_assets.shards.index import INDEX_SCHEMA
from r2_hf_assets.shards.names import INDEX_FILES, path_in_repo
from r2_hf_assets.shards.schema import COLUMNS

PICTURE_PATH = "assets/quality.svg"

_TASKS = ["automatic-speech-recognition", "text-to-speech"]
_TAGS = ["audio", "speech"]
_SIZES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
_STAMP = re.compile(r"As of (\d{4}-\d\d-\d\d \d\d:\d\d UTC), at revision \[`([^`\s]+)`\]")
_CHUNKS = re.compile(r"^([\d,]+) chunks of the plan, by digest", re.MULTILINE)
_START_TEXT = """\
Podcast speech, one row a segment: the MP3 with its source key, transcript, speaker, duration, DNSMOS and language.
Files are `data/<language>/chunk-NNNNN[-part-NN].parquet`.
The config `metadata` has a row without audio for each segment read, rejects with their reason included.

```python
from datasets import load_dataset

speech = load_dataset("<this repo>", split="train", streaming=True)
```"""
_ABOUT, _FILES, _INDEXES = _START_TEXT.splitlines()[:3]
_FEATURES = [{"name": column.name, "dtype": column.dtype} for column in COLUMNS]
# The names of these Arrow types are those of `datasets`, but for "double".
_INDEX_FEATURES = [
    {"name": one.name, "dtype": {"double": "float64", "float": "float32"}.get(str(one.type), str(one.type))}
    for one in INDEX_SCHEMA
]


def _config(name: str, path: str, **more: Any) -> dict[str, Any]:
    return {"config_name": name, **more, "data_files": [{"split": "train", "path": path}]}


def _info(name: str, **more: Any) -> dict[str, Any]:
    features = _INDEX_FEATURES if name == INDEX else _FEATURES
    # Copies: YAML would refer to a shared list by an alias.
    return {"config_name": name, "features": [{**one} for one in features], **more}


_INDEX_CONFIG = _config(INDEX, INDEX_FILES)
_ALL_CONFIG = _config(ALL, path_in_repo("*", "*.parquet"), default=True)
_START_YAML = {
    "configs": [_INDEX_CONFIG, _ALL_CONFIG],
    "dataset_info": [_info(INDEX), _info(ALL)],
    "task_categories": _TASKS,
    "tags": _TAGS,
}
# The card of a new dataset.
CARD = f"---\n{dump(_START_YAML)}---\n\n{BEGIN}\n{_START_TEXT}\n{END}\n".encode()


def without_figures(card: bytes) -> bytes:
    """Return the card with the section of a new dataset, for a repo whose counted files are removed."""
    section = re.compile(re.escape(BEGIN.encode()) + rb".*?" + re.escape(END.encode()), re.DOTALL)
    return section.sub(f"{BEGIN}\n{_START_TEXT}\n{END}".encode(), card, count=1)


@dataclass(frozen=True)
class Stamp:
    """When the figures were read ("2026-11-25 15:04 UTC"), and at which commit."""

    at: str
    revision: str


def read_stamp(section: str | None) -> Stamp | None:
    """Return the stamp of a section on the Hub, None when it has none."""
    match = _STAMP.search(section or "")
    return Stamp(match[1], match[2]) if match else None


def read_chunk_count(section: str | None) -> int:
    """Return the number of chunks in a section on the Hub, 0 when it has none."""
    match = _CHUNKS.search(section or "")
    return int(match[1].replace(",", "")) if match else 0


def owned_yaml(facts: CardFacts) -> dict[str, Any]:
    """Return the generated keys, which replace those of the card."""
    names = [name for name in facts.languages if name != UNKNOWN]
    configs = [_ALL_CONFIG, *(_config(name, path_in_repo(name, "*.parquet")) for name in facts.languages)]
    infos = []
    for name, figures in {ALL: facts.all, **facts.languages}.items():
        # Parquet does not compress the audio.
        infos.append(_info(name, download_size=figures.bytes, dataset_size=figures.bytes))
    if facts.indexed:
        configs.append(_INDEX_CONFIG)
        infos.append(_info(INDEX))
    owned = {"size_categories": [size_category(facts.all.rows)], "configs": configs, "dataset_info": infos}
    return {"language": names, **owned} if names else owned


def default_yaml(facts: CardFacts) -> dict[str, Any]:
    """Return the keys that are set where the card has none."""
    named = {"pretty_name": facts.title, "license": facts.license}
    return {**{key: value for key, value in named.items() if value}, "task_categories": _TASKS, "tags": _TAGS}


def size_category(rows: int) -> str:
    """Return the Hub's size category, e.g. "10K<n<100K"."""
    if rows < 1000:
        return f"n<{_SIZES[0]}"
    place = len(str(rows)) - 3
    return f"{_SIZES[place - 1]}<n<{_SIZES[place]}" if place < len(_SIZES) else f"n>{_SIZES[-1]}"


def section(facts: CardFacts, stamp: Stamp, *, alone: bool) -> str:
    """Return the text between the markers. `alone`: the card has no other text, so the title is on top."""
    stats = facts.all.stats
    known, scored = sum(stats.duration_s), sum(stats.dnsmos)
    picture = f"![Segments by duration ({known:,} known) and by DNSMOS ({scored:,} known)]({PICTURE_PATH})"
    parts = [
        f"# {facts.title or facts.repo_id.partition('/')[2]}" if alone else "",
        _ABOUT,
        "## Contents",
        _table(facts),
        _notes(facts),
        picture if has_picture(facts) else "",
        "## Loading",
        _loading(facts),
        "## Provenance",
        f"{facts.committed:,} chunks of the plan, by digest `{facts.digest}`. As of {stamp.at}, at revision "
        f"[`{stamp.revision}`]({facts.endpoint}/datasets/{facts.repo_id}/tree/{stamp.revision}).",
        changelog(facts),
        f"<!-- r2_hf_assets: figures {fingerprint(facts)} -->",
    ]
    return "\n\n".join(filter(None, parts))


def _table(facts: CardFacts) -> str:
    rows = {f"`{name}`": figures for name, figures in facts.languages.items()}
    if len(rows) != 1:
        rows[f"**`{ALL}`**"] = facts.all
    lines = ["| config | hours | episodes | segments | speakers | size |", "|---|--:|--:|--:|--:|--:|"]
    for name, figures in rows.items():
        stats = figures.stats
        digits = 1 if stats.hours >= 10 else 2
        counted = (f"{stats.hours:,.{digits}f}", f"{stats.episodes:,}", f"{stats.speakers:,}")
        hours, episodes, speakers = counted if figures.counted else ("?",) * 3
        lines.append(f"| {name} | {hours} | {episodes} | {figures.rows:,} | {speakers} | {_size(figures.bytes)} |")
    return "\n".join(lines)


def _notes(facts: CardFacts) -> str:
    whole = facts.all
    notes = ["Speakers are counted within each episode: a `speaker_id` means nothing beyond its own."]
    if whole.counted < whole.chunks:
        notes.append(
            f"Hours, episodes, speakers and the picture are of {whole.counted:,} of {whole.chunks:,} chunks; of the "
            "others they are not known. Segments and sizes are of all."
        )
    if UNKNOWN in facts.languages:
        notes.append(f"`{UNKNOWN}`: the source names no language.")
    if facts.committed < facts.planned:
        notes.append(f"The dataset still grows: {facts.committed:,} of {facts.planned:,} planned chunks are here.")
    return "\n".join(notes)


def has_picture(facts: CardFacts) -> bool:
    return bool(sum(facts.all.stats.duration_s) or sum(facts.all.stats.dnsmos))


def _loading(facts: CardFacts) -> str:
    name = next((name for name in facts.languages if name != UNKNOWN), UNKNOWN)
    indexes = f"\n{_INDEXES}" if facts.indexed else ""
    return f"""```python
from datasets import load_dataset

everything = load_dataset("{facts.repo_id}", split="train", streaming=True)
one_language = load_dataset("{facts.repo_id}", "{name}", split="train", streaming=True)
print(next(iter(one_language))["text"])
```

Without `streaming=True` all files are fetched first ({_size(facts.all.bytes)}). {_FILES}{indexes}"""


def fingerprint(facts: CardFacts) -> str:
    """Return a hash of all figures, including those that only the picture shows."""
    return hashlib.sha256(json.dumps([facts.digest, astuple(facts.all.stats)]).encode()).hexdigest()[:16]


def _size(number: int) -> str:
    size: str = tqdm.format_sizeof(number, "B")
    return size
