"""Merge the generated part of the dataset card with the text that people wrote into it.

The section between the markers is generated; the text around it stays. Of the YAML on top, `owned` keys are set,
`defaults` only where the card sets none, and all others stay, as do configs and dataset_info of other names; one that a
user called `all`, `metadata` or like a language is replaced. Only the lines of keys that change are replaced, so
comments and formatting stay. A YAML that can't be split by lines is dumped again with the same values. A card that
can't be read is refused, so a missing colon loses no text.
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
# The config of all languages, and that of the indexes; each language has one with its name.
ALL = "all"
INDEX = "metadata"
_GENERATED = frozenset({ALL, INDEX, *LANGUAGES})
_MARKER = re.compile(f"{re.escape(BEGIN)}|{re.escape(END)}")
# The start of a key or a comment; a list may follow its key without indentation.
_TOP_LEVEL_LINE = re.compile(r"^(?=[^\s\-])", re.MULTILINE)
_ADVICE = "nothing was changed; fix it on the Hub"


@dataclass(frozen=True)
class Card:
    """The parts of a card: the YAML without its `---` lines, and the text. `section` includes its markers."""

    yaml: str = ""
    before: str = ""
    section: str | None = None
    after: str = ""

    @property
    def has_other_text(self) -> bool:
        return bool((self.before + self.after).strip())


def read_card(data: bytes | None) -> Card:
    """Split a card into its parts, which are empty for None. Raises CardError if it is damaged."""
    from huggingface_hub.repocard import REGEX_YAML_BLOCK

    try:
        text = (data or b"").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CardError(f"{CARD_PATH} is not UTF-8 text (byte {error.start}); {_ADVICE}") from None
    block = REGEX_YAML_BLOCK.match(text)
    if block is None and re.match(r"\s*---[ \t]*(?:\r?\n|\Z)", text):
        raise CardError(f"{CARD_PATH} begins with ---, but its YAML is not between two lines of ---; {_ADVICE}")
    front, body = (block[2] + "\n", text[block.end() :]) if block else ("", text)
    markers = list(_MARKER.finditer(body))
    if not markers:
        return Card(front, body)
    if [marker[0] for marker in markers] != [BEGIN, END]:
        raise CardError(
            f"{CARD_PATH}: the markers {BEGIN} and {END} are not a pair; restore them, or remove them all and the "
            "section is added again"
        )
    begin, end = markers[0].start(), markers[1].end()
    return Card(front, body[:begin], body[begin:end], body[end:])


def write_card(card: Card, owned: dict[str, Any], defaults: dict[str, Any], section: str) -> bytes:
    """Return the whole card, with `section` (without markers) in place of its section, else at its end."""
    existing = read_yaml(card)
    merged = existing | {key: value for key, value in defaults.items() if existing.get(key) is None} | owned
    if "configs" in owned:
        merged |= _merge_configs(existing, owned)
    before, after = card.before, card.after
    if card.section is None:
        before, after = f"{card.before.rstrip()}\n\n" if card.before.strip() else "\n", "\n"
    front = _replace_keys(card.yaml, existing, merged)
    return f"---\n{front}---\n{before}{BEGIN}\n{section.strip()}\n{END}{after}".encode()


def read_yaml(card: Card) -> dict[str, Any]:
    """Return the keys and values of the YAML on top. Raises CardError if it can't be read."""
    try:
        loaded = yaml.safe_load(card.yaml) or {}
    except (yaml.YAMLError, ValueError) as error:  # a ValueError: a date that does not exist
        where = type(error).__name__
        if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
            where = f"line {error.problem_mark.line + 2}: {error.problem}"
        raise CardError(f"{CARD_PATH}: its YAML can't be read ({where}); {_ADVICE}") from None
    if not isinstance(loaded, dict):
        raise CardError(f"{CARD_PATH}: its YAML has no keys; {_ADVICE}")
    return loaded


def _merge_configs(existing: Mapping[str, Any], owned: Mapping[str, Any]) -> dict[str, Any]:
    """Return the generated configs and infos, followed by existing ones with other names."""
    configs, infos = existing.get("configs") or [], existing.get("dataset_info") or []
    if isinstance(infos, dict):
        infos = [infos]
    if not isinstance(configs, list) or not isinstance(infos, list):
        raise CardError(f"{CARD_PATH}: configs or dataset_info in its YAML is not a list; {_ADVICE}")
    other_configs = [entry for entry in configs if _name(entry) not in _GENERATED]
    # An info without a name describes the only config of a card with one, as in a new dataset's card.
    other_infos = [entry for entry in infos if _name(entry) and _name(entry) not in _GENERATED]
    generated = owned["configs"]
    if any(_name(entry) == "default" or (_name(entry) and entry.get("default")) for entry in other_configs):
        # `datasets` rejects two defaults, and a person's choice wins.
        generated = [{key: value for key, value in entry.items() if key != "default"} for entry in generated]
    return {"configs": [*generated, *other_configs], "dataset_info": [*owned["dataset_info"], *other_infos]}


def _name(entry: Any) -> str | None:
    return entry.get("config_name") if isinstance(entry, dict) else None


def _replace_keys(text: str, existing: Mapping[str, Any], merged: Mapping[str, Any]) -> str:
    """Return `text` without the lines of the keys that differ, followed by their new values."""
    changed = {key: value for key, value in merged.items() if key not in existing or repr(existing[key]) != repr(value)}
    kept = [lines for lines in _TOP_LEVEL_LINE.split(text) if lines.partition(":")[0].strip("\"' ") not in changed]
    joined = "".join(kept) + (dump(changed) if changed else "")
    try:
        if _by_repr(yaml.safe_load(joined) or {}) == _by_repr(merged):
            return joined
    except yaml.YAMLError:
        pass  # other keys refer to a removed line, e.g. to an anchor
    return dump(merged)


def _by_repr(keys: Mapping[str, Any]) -> list[str]:
    return sorted(map(repr, keys.items()))  # 1 and true differ, and 1 and 1.0


def dump(value: Mapping[str, Any]) -> str:
    text: str = yaml.safe_dump({**value}, sort_keys=False, allow_unicode=True, width=1_000_000)
    return text
