"""A card taken apart and put together again: what people wrote stays, byte for byte.

In the text, what lies between our markers is ours. In the YAML on top, whole keys are: OWNED ones are set, DEFAULTS are
set where a person set none, all others are left alone, as are configs and dataset_info of names that are not ours. Only
the lines of keys that change are replaced, so a person's comments and spelling live on; a YAML that can't be cut by
lines is written anew, with the same values.

The block is found by huggingface_hub's regular expression, which is the Hub's own. A card that can't be read so is
refused with a line that says why: nobody's text is thrown away because somebody forgot a colon.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from r2_hf_assets.errors import CardError
from r2_hf_assets.hub.card.start import BEGIN, CARD_PATH, END, START_TEXT
from r2_hf_assets.languages import LANGUAGES

# libyaml's where it is there, which is ten times as fast.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MARKER = re.compile(f"{re.escape(BEGIN)}|{re.escape(END)}")
# Lines behind a key's value that are not its own: blank ones and comments.
_TRAILING = re.compile(r"(?:^[ \t]*(?:#[^\n]*)?\r?\n)+\Z", re.MULTILINE)
# The config of all languages; each language has one of its own name.
ALL = "all"
CONFIG_NAMES = frozenset({ALL, *LANGUAGES})
_UNNAMED = (None, "default")
_ADVICE = "nothing was changed; mend it on the Hub"


@dataclass(frozen=True)
class Card:
    """A card in parts; None stands for what is not there.

    `bom` is the mark that some editors put first, `line_break` what the card ends most of its lines with; `opening`
    and `closing` are the lines of dashes, the line breaks beside them included.
    """

    bom: str = ""
    line_break: str = "\n"
    opening: str | None = None
    yaml: str = ""
    closing: str | None = None
    before: str = ""
    section: str | None = None
    after: str = ""

    @property
    def written_by_people(self) -> bool:
        """Whether there is any text outside our section."""
        return bool((self.before + self.after).strip())


def read_card(data: bytes | None) -> Card:
    """Take a card apart; None is a repo without one.

    Raises:
        CardError: it is no text, its YAML block does not end, or its markers are not in pairs.
    """
    from huggingface_hub.repocard import REGEX_YAML_BLOCK

    if data is None:
        return Card()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CardError(f"{CARD_PATH} is no UTF-8 text (byte {error.start}); {_ADVICE}") from None
    bom = "\ufeff" if text.startswith("\ufeff") else ""
    text = text[len(bom) :]
    line_break = "\r\n" if text.count("\r\n") * 2 > text.count("\n") else "\n"
    block = REGEX_YAML_BLOCK.match(text)
    if block is None and re.match(r"\s*---[ \t]*(?:\r?\n|\Z)", text):
        raise CardError(f"{CARD_PATH} begins with ---, but its YAML does not stand between two lines of ---; {_ADVICE}")
    body = text[block.end() :] if block else text
    before, section, after = _parts(body)
    opening, inside, closing = (block[1], block[2], block[3]) if block else (None, "", None)
    return Card(bom, line_break, opening, inside, closing, before, section, after)


def _parts(body: str) -> tuple[str, str | None, str]:
    """Text before our section, the section, text behind it."""
    found = list(_MARKER.finditer(body))
    if [match[0] for match in found] != [BEGIN, END] * (len(found) // 2):
        raise CardError(
            f"{CARD_PATH}: the markers {BEGIN} and {END} are not in pairs; put them back, or remove them all and the "
            "section is added anew"
        )
    if not found:
        # The card of before there were markers, if nobody has written into it.
        is_start = body.replace("\r\n", "\n").strip() == START_TEXT.strip()
        return ("", body, "") if is_start else (body, None, "")
    # A section that somebody doubled is shown once.
    after = body[found[1].end() :]
    for begin, end in reversed(list(zip(found[2::2], found[3::2], strict=True))):
        start = found[1].end()
        after = after[: begin.start() - start] + after[end.end() - start :]
    return body[: found[0].start()], body[found[0].start() : found[1].end()], after


def write_card(card: Card, owned: Mapping[str, Any], defaults: Mapping[str, Any], section: str) -> bytes:
    """The whole card, with `section` (without markers, lines ended by \\n) in the place of the one that it has.

    Args:
        owned: YAML keys that are ours. `configs` and `dataset_info` are lists of entries with a `config_name`.
        defaults: keys that are set only where the card sets none.

    Raises:
        CardError: the card's YAML can't be read.
    """
    try:
        block = _yaml_with(card, owned, defaults)
    except RecursionError:
        raise CardError(f"{CARD_PATH}: its YAML refers to itself; {_ADVICE}") from None
    end = card.line_break
    ours = f"{BEGIN}\n{section.strip()}\n{END}".replace("\n", end)
    before, after = card.before, card.after
    if card.section is None and before.strip():  # a person's card: ours comes behind it, after an empty line
        before += end * (2 if not before.endswith("\n") else 1)
    if card.section is None or not card.section.startswith(BEGIN):
        before, after = before or end, after + end
    opening, closing = card.opening or f"---{end}", card.closing or f"{end}---{end}"
    if not closing.endswith("\n"):
        closing += end
    return f"{card.bom}{opening}{block}{closing}{before}{ours}{after}".encode()


def _yaml_with(card: Card, owned: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    there = read_yaml(card)
    wanted = {**defaults, **owned}
    wanted |= {key: there[key] for key in defaults if there.get(key) is not None}
    if "configs" in owned:
        wanted |= _with_theirs(there, owned)
    return _write_yaml(card.yaml, there, {**there, **wanted}, card.line_break)


def read_yaml(card: Card) -> dict[str, Any]:
    """The keys of the YAML on top; none for none.

    Raises:
        CardError: it can't be read.
    """
    text = card.yaml + card.line_break
    try:
        node = yaml.compose(text, Loader=_LOADER)
        found = yaml.load(text, _LOADER)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + (card.opening or "").count("\n") + 1 if error.problem_mark else "?"
        where = f"line {line}"
        raise CardError(f"{CARD_PATH}: its YAML can't be read ({where}: {error.problem}); {_ADVICE}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise CardError(f"{CARD_PATH}: its YAML can't be read ({type(error).__name__}); {_ADVICE}") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise CardError(f"{CARD_PATH}: its YAML is no list of keys and values; {_ADVICE}")
    keys = [key.value for key, _ in node.value]
    if twice := sorted({str(key) for key in keys if keys.count(key) > 1}):
        raise CardError(f"{CARD_PATH}: its YAML says {', '.join(twice)} twice; {_ADVICE}")
    return found


def _with_theirs(there: Mapping[str, Any], owned: Mapping[str, Any]) -> dict[str, Any]:
    """Our configs and infos, with those of a person behind them that bear other names."""
    configs, infos = there.get("configs") or [], there.get("dataset_info") or []
    if isinstance(infos, dict):
        infos = [infos]
    if not isinstance(configs, list) or not isinstance(infos, list):
        raise CardError(f"{CARD_PATH}: configs or dataset_info in its YAML is no list; {_ADVICE}")
    theirs = [entry for entry in configs if not _is_ours(entry)]
    names = {_name(entry) for entry in theirs}
    ours = owned["configs"]
    if any(isinstance(entry, dict) and (entry.get("default") or _name(entry) == "default") for entry in theirs):
        # Two defaults are an error to `datasets`, and the person has chosen.
        ours = [{key: value for key, value in entry.items() if key != "default"} for entry in ours]
    # One without a name of its own describes the config of before there were several.
    kept = [info for info in infos if not _is_ours(info) and (_name(info) not in _UNNAMED or _name(info) in names)]
    return {"configs": [*ours, *theirs], "dataset_info": [*owned.get("dataset_info", []), *kept]}


def _name(entry: Any) -> str | None:
    name = entry.get("config_name") if isinstance(entry, dict) else None
    return "no" if name is False else name  # Norwegian, which YAML 1.1 takes for a no


def _is_ours(entry: Any) -> bool:
    return _name(entry) in CONFIG_NAMES


def _write_yaml(text: str, there: Mapping[str, Any], wanted: Mapping[str, Any], end: str) -> str:
    """`text` with the keys that differ replaced, and new ones behind it."""
    changed = {key: value for key, value in wanted.items() if key not in there or repr(there[key]) != repr(value)}
    if not changed:
        return text
    cut = _without(text + end if text else text, set(changed))
    if cut is not None:
        joined = cut + dump(changed).replace("\n", end)
        try:
            if _told_apart(yaml.load(joined, _LOADER)) == _told_apart(wanted):
                return joined.removesuffix(end)
        except yaml.YAMLError:
            pass  # what was cut away is needed elsewhere, e.g. an anchor
    return dump(dict(wanted)).replace("\n", end).removesuffix(end)


def _told_apart(found: Mapping[str, Any]) -> dict[str, str]:
    """Values by key, in a form in which 1 and true differ, and 1 and 1.0."""
    return {key: repr(value) for key, value in found.items()}


def _without(text: str, keys: set[str]) -> str | None:
    """`text` without these keys' lines; None when it is not one key after the other, each on lines of its own."""
    node = yaml.compose(text, Loader=_LOADER)
    if node is None:
        return text
    starts = [key.start_mark for key, _ in node.value]
    if node.flow_style or any(mark.column for mark in starts):
        return None
    ends = [*(mark.index for mark in starts[1:]), len(text)]
    kept = text[: starts[0].index] if starts else text
    for (key, _), start, end in zip(node.value, starts, ends, strict=True):
        lines = text[start.index : end]
        trailing = _TRAILING.search(lines)
        kept += lines if key.value not in keys else trailing[0] if trailing else ""
    return kept


def dump(value: Any) -> str:
    """YAML as huggingface_hub writes it, without references: every value in full."""
    text: str = yaml.dump(value, Dumper=_InFull, sort_keys=False, allow_unicode=True, width=1_000_000)
    return text


class _InFull(yaml.SafeDumper):  # type: ignore[misc]
    def ignore_aliases(self, data: Any) -> bool:
        return True
