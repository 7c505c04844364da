"""Merge the generated part of the dataset card with what people wrote into it.

The section between the markers is generated; the text around it stays. Of the YAML on top, `owned` keys are set,
`defaults` only where the card sets none, and all others stay, as do configs and dataset_info of other names. Only the
lines of keys that change are replaced, so a person's comments and spelling stay. A YAML that can't be cut by lines is
dumped anew, with the same values. A card that can't be read is refused, so no text is lost by a missing colon.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from r2_hf_assets.errors import CardError
from r2_hf_assets.languages import LANGUAGES

CARD_PATH = "README.md"
BEGIN = "<!-- r2_hf_assets: begin -->"
END = "<!-- r2_hf_assets: end -->"
# The config of all languages; each language has one of its own name.
ALL = "all"
_OUR_CONFIGS = frozenset({ALL, *LANGUAGES})
_MARKER = re.compile(f"{re.escape(BEGIN)}|{re.escape(END)}")
# Where a key or a comment begins; a list may stand without indentation below its key.
_TOP_LEVEL_LINE = re.compile(r"^(?=[^\s\-])", re.MULTILINE)
_ADVICE = "nothing was changed; mend it on the Hub"


@dataclass(frozen=True)
class Card:
    """A card in parts: the YAML without its lines of dashes, and the text. `section` includes its markers."""

    yaml: str = ""
    before: str = ""
    section: str | None = None
    after: str = ""

    @property
    def written_by_people(self) -> bool:
        """Whether there is any text outside our section."""
        return bool((self.before + self.after).strip())


def read_card(data: bytes | None) -> Card:
    """Split a card; None is a repo without one. Raises CardError if it is damaged."""
    from huggingface_hub.repocard import REGEX_YAML_BLOCK  # the Hub's own

    try:
        text = (data or b"").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CardError(f"{CARD_PATH} is no UTF-8 text (byte {error.start}); {_ADVICE}") from None
    block = REGEX_YAML_BLOCK.match(text)
    if block is None and re.match(r"\s*---[ \t]*(?:\r?\n|\Z)", text):
        raise CardError(f"{CARD_PATH} begins with ---, but its YAML does not stand between two lines of ---; {_ADVICE}")
    front, body = (block[2] + "\n", text[block.end() :]) if block else ("", text)
    found = list(_MARKER.finditer(body))
    if not found:
        return Card(front, body)
    if [marker[0] for marker in found] != [BEGIN, END]:
        raise CardError(
            f"{CARD_PATH}: the markers {BEGIN} and {END} are no pair; put them back, or remove them all and the "
            "section is added anew"
        )
    begin, end = found[0].start(), found[1].end()
    return Card(front, body[:begin], body[begin:end], body[end:])


def write_card(card: Card, owned: dict[str, Any], defaults: dict[str, Any], section: str) -> bytes:
    """Return the whole card, with `section` (without markers) in the place of the one that it has, else at its end.

    Args:
        owned: YAML keys that are ours. `configs` and `dataset_info` are lists of entries with a `config_name`.
        defaults: keys that are set only where the card sets none.
    """
    there = read_yaml(card)
    wanted = there | {key: value for key, value in defaults.items() if there.get(key) is None} | owned
    if "configs" in owned:
        wanted |= _with_theirs(there, owned)
    before, after = card.before, card.after
    if card.section is None:
        before, after = f"{card.before.rstrip()}\n\n" if card.before.strip() else "\n", "\n"
    front = _replace_keys(card.yaml, there, wanted)
    return f"---\n{front}---\n{before}{BEGIN}\n{section.strip()}\n{END}{after}".encode()


def read_yaml(card: Card) -> dict[str, Any]:
    """Return the keys of the YAML on top; none for none. Raises CardError if it can't be read."""
    try:
        found = yaml.safe_load(card.yaml)
    except (yaml.YAMLError, ValueError) as error:  # a ValueError: a date that does not exist
        where = type(error).__name__
        if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
            where = f"line {error.problem_mark.line + 2}: {error.problem}"
        raise CardError(f"{CARD_PATH}: its YAML can't be read ({where}); {_ADVICE}") from None
    if not isinstance(found or {}, dict):
        raise CardError(f"{CARD_PATH}: its YAML is no list of keys and values; {_ADVICE}")
    return found or {}


def _with_theirs(there: Mapping[str, Any], owned: Mapping[str, Any]) -> dict[str, Any]:
    """Return our configs and infos, followed by those that bear other names."""
    configs, infos = there.get("configs") or [], there.get("dataset_info") or []
    if isinstance(infos, dict):
        infos = [infos]
    if not isinstance(configs, list) or not isinstance(infos, list):
        raise CardError(f"{CARD_PATH}: configs or dataset_info in its YAML is no list; {_ADVICE}")
    theirs = [entry for entry in configs if _name(entry) not in _OUR_CONFIGS]
    # One without a name describes the only config of a card that had one, as ours has at the start.
    their_infos = [entry for entry in infos if _name(entry) and _name(entry) not in _OUR_CONFIGS]
    ours = owned["configs"]
    if any(_name(entry) == "default" or (_name(entry) and entry.get("default")) for entry in theirs):
        # Two defaults are an error to `datasets`, and the person has chosen.
        ours = [{key: value for key, value in entry.items() if key != "default"} for entry in ours]
    return {"configs": [*ours, *theirs], "dataset_info": [*owned["dataset_info"], *their_infos]}


def _name(entry: Any) -> str | None:
    return entry.get("config_name") if isinstance(entry, dict) else None


def _replace_keys(text: str, there: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Return `text` without the lines of the keys that differ, followed by their new values."""
    changed = {key: value for key, value in wanted.items() if key not in there or repr(there[key]) != repr(value)}
    kept = [lines for lines in _TOP_LEVEL_LINE.split(text) if lines.partition(":")[0].strip("\"' ") not in changed]
    joined = "".join(kept) + (dump(changed) if changed else "")
    try:
        if _by_repr(yaml.safe_load(joined) or {}) == _by_repr(wanted):
            return joined
    except yaml.YAMLError:
        pass  # what was cut away is needed elsewhere, e.g. an anchor
    return dump(wanted)


def _by_repr(found: Mapping[str, Any]) -> list[str]:
    return sorted(map(repr, found.items()))  # 1 and true differ, and 1 and 1.0


def dump(value: Mapping[str, Any]) -> str:
    text: str = yaml.safe_dump({**value}, sort_keys=False, allow_unicode=True, width=1_000_000)
    return text
