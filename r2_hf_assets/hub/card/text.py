"""The card's own part: keys of its YAML, and the section between the markers. Pure: the same facts, the same text.

`dataset_info` names no splits: `datasets` refuses to load a dataset that has more rows than they say, so that between
a chunk's commit and the next card nobody could load it. What is written instead is `download_size`, which nothing
checks, and which tells people how much they are about to fetch; and the table of the section.

The section ends with when and at which revision it was true. These two alone are no reason for a commit: `stamp_of`
reads them back, and a section that is otherwise the same is written with them again.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import Any

from r2_hf_assets.hub.card.facts import CardFacts, Figures
from r2_hf_assets.hub.card.merge import ALL
from r2_hf_assets.languages import UNKNOWN
from r2_hf_assets.shards.schema import COLUMNS

PICTURE_PATH = "assets/quality.svg"

_TASKS = ["automatic-speech-recognition", "text-to-speech"]
_TAGS = ["audio", "speech"]
_SIZES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
_STAMP = re.compile(r"As of (\d{4}-\d\d-\d\d \d\d:\d\d UTC), at revision \[`([^`\s]+)`\]")


_CHUNKS = re.compile(r"^([\d,]+) chunks of the plan, by digest", re.MULTILINE)


@dataclass(frozen=True)
class Stamp:
    """When the figures were read ("2026-11-25 15:04 UTC"), and the commit that they were true for."""

    at: str
    revision: str


def stamp_of(section: str | None) -> Stamp | None:
    """The stamp of a section as it stands on the Hub."""
    found = _STAMP.search(section or "")
    return Stamp(found[1], found[2]) if found else None


def chunks_of(section: str | None) -> int:
    """How many chunks a section as it stands on the Hub counts; 0 when it does not say."""
    found = _CHUNKS.search(section or "")
    return int(found[1].replace(",", "")) if found else 0


def owned_yaml(facts: CardFacts) -> dict[str, Any]:
    """The keys that are ours whatever the card said."""
    names = [name for name in facts.languages if name != UNKNOWN]
    owned: dict[str, Any] = {"language": names} if names else {}
    return owned | {
        "size_categories": [size_category(facts.all.rows)],
        "configs": [
            {"config_name": ALL, "default": True, **_files("*")},
            *({"config_name": name, **_files(name)} for name in facts.languages),
        ],
        "dataset_info": [_info(ALL, facts.all), *(_info(name, found) for name, found in facts.languages.items())],
    }


def default_yaml(facts: CardFacts) -> dict[str, Any]:
    """The keys that are set where a person set none."""
    named = {"pretty_name": facts.title, "license": facts.license}
    return {**{key: value for key, value in named.items() if value}, "task_categories": _TASKS, "tags": _TAGS}


def _files(folder: str) -> dict[str, Any]:
    return {"data_files": [{"split": "train", "path": f"data/{folder}/*.parquet"}]}


def _info(name: str, figures: Figures) -> dict[str, Any]:
    # The audio lies in the files as it is, so what `datasets` makes of them is of their size.
    return {
        "config_name": name,
        "features": [{"name": column.name, "dtype": column.dtype} for column in COLUMNS],
        "download_size": figures.bytes,
        "dataset_size": figures.bytes,
    }


def size_category(rows: int) -> str:
    """The Hub's name for a number of rows, e.g. "10K<n<100K"."""
    if rows < 1000:
        return f"n<{_SIZES[0]}"
    place = len(str(rows)) - 3
    return f"{_SIZES[place - 1]}<n<{_SIZES[place]}" if place < len(_SIZES) else f"n>{_SIZES[-1]}"


def section(facts: CardFacts, stamp: Stamp, *, alone: bool) -> str:
    """What stands between the markers. `alone`: there is no other text, so the title heads it."""
    parts = [
        f"# {facts.title or facts.repo_id.partition('/')[2]}" if alone else "",
        "Podcast speech, one row a segment: the MP3 with its source key, transcript, speaker, duration, DNSMOS and "
        "language.",
        "## Contents",
        _table(facts),
        _notes(facts),
        *_picture(facts),
        "## Loading",
        _loading(facts),
        "## Provenance",
        _provenance(facts, stamp),
    ]
    return "\n\n".join(filter(None, parts))


def _table(facts: CardFacts) -> str:
    rows = [_row(f"`{name}`", found) for name, found in facts.languages.items()]
    if len(rows) != 1:
        rows.append(_row(f"**`{ALL}`**", facts.all))
    return "\n".join(
        [
            "| config | hours | episodes | segments | speakers | size |",
            "|---|--:|--:|--:|--:|--:|",
            *rows,
        ]
    )


def _row(name: str, found: Figures) -> str:
    stats = found.stats
    counted = (f"{found.hours:,.{1 if found.hours >= 10 else 2}f}", f"{stats.episodes:,}", f"{stats.speakers:,}")
    hours, episodes, speakers = (text if found.counted else "?" for text in counted)
    return f"| {name} | {hours} | {episodes} | {found.rows:,} | {speakers} | {size(found.bytes)} |"


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
    if whole.chunks < facts.planned:
        notes.append(f"The dataset still grows: {whole.chunks:,} of {facts.planned:,} planned chunks are here.")
    return "\n".join(notes)


def _picture(facts: CardFacts) -> Iterable[str]:
    stats = facts.all.stats
    if not has_picture(facts):
        return
    known, scored = sum(stats.duration_s), sum(stats.dnsmos)
    yield f"![Segments by duration ({known:,} known) and by DNSMOS ({scored:,} known)]({PICTURE_PATH})"


def has_picture(facts: CardFacts) -> bool:
    """Whether there is anything to draw."""
    return bool(sum(facts.all.stats.duration_s) or sum(facts.all.stats.dnsmos))


def _loading(facts: CardFacts) -> str:
    name = next((name for name in facts.languages if name != UNKNOWN), UNKNOWN)
    return f"""```python
from datasets import load_dataset

everything = load_dataset("{facts.repo_id}", split="train", streaming=True)
one_language = load_dataset("{facts.repo_id}", "{name}", split="train", streaming=True)
print(next(iter(one_language))["text"])
```

Without `streaming=True` all files are fetched first ({size(facts.all.bytes)}). Files are \
`data/<language>/chunk-NNNNN[-part-NN].parquet`."""


def _provenance(facts: CardFacts, stamp: Stamp) -> str:
    tree = f"{facts.endpoint}/datasets/{facts.repo_id}/tree/{stamp.revision}"
    return (
        f"{facts.all.chunks:,} chunks of the plan, by digest `{facts.digest}`. "
        f"As of {stamp.at}, at revision [`{stamp.revision}`]({tree}).\n\n"
        f"<!-- r2_hf_assets: figures {fingerprint(facts)} -->"
    )


def fingerprint(facts: CardFacts) -> str:
    """Changes with any figure, drawn ones included, which the text does not show."""
    stats = facts.all.stats
    return hashlib.sha256(json.dumps([facts.digest, astuple(stats)]).encode()).hexdigest()[:16]


def size(number: int) -> str:
    """Bytes for people, e.g. "1.5 GB"; powers of 1000, as the Hub shows them."""
    amount, units = float(number), ["bytes", "kB", "MB", "GB", "TB"]
    while amount >= 999.5 and len(units) > 1:
        amount, units = amount / 1000, units[1:]
    return f"{amount:.0f} {units[0]}" if amount >= 100 or units[0] == "bytes" else f"{amount:.1f} {units[0]}"
