"""People's part of the card stays: text byte for byte, keys with their values and comments."""

import itertools

import pytest
import yaml

from r2_hf_assets.errors import CardError
from r2_hf_assets.hub.card.commit import update_card
from r2_hf_assets.hub.card.merge import BEGIN, END, read_card, write_card
from r2_hf_assets.hub.card.text import CARD
from r2_hf_assets_tests.hub.card.samples import LATER, THEN, chunk, facts

FACTS = facts(chunk("de"), chunk("en"), title="Ours", license="cc-by-4.0")
MORE = facts(chunk("de"), chunk("en"), chunk("en", 1), title="Ours", license="cc-by-4.0")


def merged(text: str, about=FACTS) -> str:
    return update_card(text.encode(), about, THEN).decode()


def keys(text: str) -> dict:
    return yaml.safe_load(text.removeprefix("\ufeff").split("---")[1])


PERSONS_YAML = """\
# how we came to this
license: cc0-1.0   # the lawyers say so
pretty_name: "Theirs"
tags: [podcasts]
paperswithcode_id: podcasts
published: 2026-01-02
time: 12:30:45
on: true
extra_gated_fields:
    Affiliation: text
"""
PERSONS_TEXT = "# My data 🎙️\n\nRead this first.  \n\n```yaml\nkey: [1, 2]\n```\n\ttabs, and no line break at the end"


def test_a_persons_text_and_yaml_do_not_change():
    text = merged(f"---\n{PERSONS_YAML}---\n{PERSONS_TEXT}")
    front, body = text.removeprefix("---\n").split("\n---\n", 1)
    assert front.startswith(PERSONS_YAML)
    assert body.startswith(f"{PERSONS_TEXT}\n\n{BEGIN}\n")
    assert body.endswith(f"{END}\n")
    yaml_keys = keys(text)
    assert [yaml_keys[name] for name in ("license", "pretty_name", "tags")] == ["cc0-1.0", "Theirs", ["podcasts"]]
    assert [config["config_name"] for config in yaml_keys["configs"]] == ["all", "de", "en", "metadata"]


@pytest.mark.parametrize(
    "existing",
    [
        None,
        CARD,
        PERSONS_TEXT.encode(),
        f"---\n{PERSONS_YAML}---\n{PERSONS_TEXT}".encode(),
        f"---\r\nlicense: mit\r\n---\r\nText\r\nmore\r\n{BEGIN}\r\nold\r\n{END}\r\nbehind\r\n".encode(),
        b"\xef\xbb\xbf---\nlicense: mit\n---\nText",
        b"---\nlicense: mit\n---",
        b"---\n# only a comment\n---\n",
        b"---\nitself: &a [*a]\n---\n",
        b"\n\n---\n{license: mit, tags: [a]}\n---  \n\n\nText\n",
        b"",
        b"   \n",
    ],
)
def test_writing_again_changes_nothing_and_new_figures_change_only_the_section(existing):
    first = update_card(existing, FACTS, THEN)
    assert update_card(first, FACTS, LATER) == first
    second = update_card(first, MORE, LATER)
    assert second != first
    before, after = read_card(first), read_card(second)
    assert (before.before, before.after) == (after.before, after.after)
    assert update_card(second, MORE, THEN) == second
    assert first.count(BEGIN.encode()) == second.count(BEGIN.encode()) == 1


def test_a_moved_section_stays_in_its_place():
    section = read_card(update_card(None, FACTS, THEN)).section
    text = merged(f"---\nlicense: mit\n---\n# Mine\n{section} and on the same line\n\n# More of mine", MORE)
    assert "---\n# Mine\n" + BEGIN in text
    assert text.endswith(f"{END} and on the same line\n\n# More of mine")


@pytest.mark.parametrize(
    "markers", [[BEGIN], [END], [END, BEGIN], [BEGIN, BEGIN, END], [BEGIN, END, END], [BEGIN, END] * 2]
)
def test_unpaired_markers_are_refused(markers):
    text = "mine\n" + "\nmine\n".join(markers) + "\nmine\n"
    with pytest.raises(CardError, match=r"the markers .* are not a pair; restore them"):
        merged(text)


def test_the_card_of_a_new_dataset_is_replaced():
    text = merged(CARD.decode())
    assert text.count(BEGIN) == 1 and "# Ours" in text and "<this repo>" not in text


def test_yaml_after_a_byte_order_mark_or_with_crlf_is_read():
    for existing in ("\ufeff---\nlicense: mit\n---\nmine\n", "---\r\nlicense: mit\r\n---\r\nmine\r\n"):
        text = merged(existing)
        assert keys(text)["license"] == "mit" and "\nmine" in text
        assert text.count("\n---\n") == 1


@pytest.mark.parametrize(
    ("existing", "message"),
    [
        (b"---\na: 1\nlicense: [mit,\nb: 2\n---\n", "its YAML can't be read (line 5: "),
        (b"---\na: b: c\n---\n", "its YAML can't be read (line 2: mapping values are not allowed here)"),
        (b"---\n- a\n- b\n---\n", "its YAML has no keys"),
        (b"---\nlicense: mit\n\nand no end\n", "begins with ---, but its YAML is not between"),
        (b"---  \nlicense: mit\n---\n", "begins with ---, but its YAML is not between"),
        (b"---\na: \x07\n---\n", "its YAML can't be read (ReaderError)"),
        (b"---\nconfigs: none\n---\n", "configs or dataset_info in its YAML is not a list"),
        (b"---\nlicense: mit\n---\n\xff\xfe", "is not UTF-8 text (byte 21)"),
    ],
)
def test_a_damaged_card_is_refused_in_one_line(existing, message):
    with pytest.raises(CardError) as refused:
        update_card(existing, FACTS, THEN)
    assert message in str(refused.value)
    assert "nothing was changed; fix it on the Hub" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_generated_keys_replace_existing_ones():
    text = merged("---\nsize_categories: [n>1T]\nlanguage:\n- xx\n# about the next\nlicense: mit\n# last\n---\nmine\n")
    assert keys(text)["size_categories"] == ["n<1K"]
    assert keys(text)["language"] == ["de", "en"]
    assert text.startswith("---\n# about the next\nlicense: mit\n# last\n")


def test_a_persons_configs_stay_and_their_default_wins():
    configs = "configs:\n- config_name: short\n  data_files: short/*.parquet\n- config_name: en\n  data_files: mine\n"
    infos = "dataset_info:\n- config_name: short\n  features: []\n- config_name: default\n  features: []\n"
    result = keys(merged(f"---\n{configs}{infos}---\n"))
    assert [config["config_name"] for config in result["configs"]] == ["all", "de", "en", "metadata", "short"]
    assert result["configs"][0]["default"] is True
    assert result["configs"][2]["data_files"] == [{"split": "train", "path": "data/en/*.parquet"}]
    assert [info["config_name"] for info in result["dataset_info"]] == [
        "all",
        "de",
        "en",
        "metadata",
        "short",
        "default",
    ]
    result = keys(merged(f"---\n{configs}- config_name: best\n  default: true\n  data_files: best/*\n---\n"))
    assert [config.get("default") for config in result["configs"]] == [None, None, None, None, None, True]


def test_a_persons_config_with_the_name_of_the_indexes_is_replaced():
    for named in ("data_files: mine/*.csv", "default: true\n  data_files: mine/*.csv"):
        result = keys(merged(f"---\nconfigs:\n- config_name: metadata\n  {named}\n---\n"))
        assert [config["config_name"] for config in result["configs"]] == ["all", "de", "en", "metadata"]
        assert [config.get("default") for config in result["configs"]] == [True, None, None, None]
        assert result["configs"][3]["data_files"] == [{"split": "train", "path": "metadata/*/chunk-*.parquet"}]


def test_the_config_of_a_removed_language_is_removed():
    result = keys(merged(merged("", MORE), facts(chunk("de"), chunk("no"))))
    assert [config["config_name"] for config in result["configs"]] == ["all", "de", "no", "metadata"]
    assert result["language"] == ["de", "no"]


def test_yaml_that_cant_be_split_by_lines_keeps_its_values():
    anchored = "size_categories: &s [big]\nother: *s\ncopy: {a: *s}\n"
    for yaml_text in (anchored, "{license: mit, other: [big], size_categories: [x]}\n", " a: 1\n b: 2\n"):
        existing, result = yaml.safe_load(yaml_text), keys(merged(f"---\n{yaml_text}---\n"))
        existing.pop("size_categories", None)
        assert existing.items() <= result.items()
        assert result["size_categories"] == ["n<1K"]


def test_a_huge_card_keeps_its_text_and_yaml():
    body = "".join(f"line {number} 🎧\n" for number in range(200_000))
    front = "notes: |\n" + "".join(f"  # {number}\n" for number in range(20_000))
    text = merged(f"---\n{front}---\n{body}")
    assert text.startswith(f"---\n{front}")
    assert body in text
    assert text.count(BEGIN) == 1


def test_defaults_set_only_absent_and_null_keys():
    card = read_card(b"---\nlicense:\ntags: []\n---\n")
    result = keys(write_card(card, {}, {"license": "mit", "tags": ["a"], "pretty_name": "N"}, "s").decode())
    assert result == {"license": "mit", "tags": [], "pretty_name": "N"}


def test_the_yaml_has_no_anchors_or_aliases():
    text = merged("")
    front = text.split("---")[1]
    assert not any(sign in line for line, sign in itertools.product(front.splitlines(), ("&id", "*id")))
