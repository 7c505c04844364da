"""What people wrote into the card stays: their text byte for byte, their keys with their values and comments."""

import itertools

import pytest
import yaml

from r2_hf_assets.errors import CardError
from r2_hf_assets.hub.card.commit import whole_card
from r2_hf_assets.hub.card.merge import BEGIN, END, read_card, write_card
from r2_hf_assets.hub.card.text import CARD
from r2_hf_assets_tests.hub.card.samples import LATER, THEN, chunk, facts

FACTS = facts(chunk("de"), chunk("en"), title="Ours", license="cc-by-4.0")
MORE = facts(chunk("de"), chunk("en"), chunk("en", 1), title="Ours", license="cc-by-4.0")


def merged(text: str, about=FACTS) -> str:
    return whole_card(text.encode(), about, THEN).decode()


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


def test_a_persons_text_and_yaml_stay_as_they_are_written():
    text = merged(f"---\n{PERSONS_YAML}---\n{PERSONS_TEXT}")
    front, body = text.removeprefix("---\n").split("\n---\n", 1)
    assert front.startswith(PERSONS_YAML)
    assert body.startswith(f"{PERSONS_TEXT}\n\n{BEGIN}\n")
    assert body.endswith(f"{END}\n")
    found = keys(text)
    assert (found["license"], found["pretty_name"], found["tags"]) == ("cc0-1.0", "Theirs", ["podcasts"])
    assert [config["config_name"] for config in found["configs"]] == ["all", "de", "en"]


@pytest.mark.parametrize(
    "standing",
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
def test_writing_again_changes_nothing_and_new_figures_change_our_part_alone(standing):
    first = whole_card(standing, FACTS, THEN)
    assert whole_card(first, FACTS, LATER) == first
    second = whole_card(first, MORE, LATER)
    assert second != first
    before, after = read_card(first), read_card(second)
    assert (before.before, before.after) == (after.before, after.after)
    assert whole_card(second, MORE, THEN) == second
    assert first.count(BEGIN.encode()) == second.count(BEGIN.encode()) == 1


def test_the_section_may_be_moved_and_stays_where_it_was_put():
    ours = read_card(whole_card(None, FACTS, THEN)).section
    text = merged(f"---\nlicense: mit\n---\n# Mine\n{ours} and on the same line\n\n# More of mine", MORE)
    assert "---\n# Mine\n" + BEGIN in text
    assert text.endswith(f"{END} and on the same line\n\n# More of mine")


@pytest.mark.parametrize(
    "markers", [[BEGIN], [END], [END, BEGIN], [BEGIN, BEGIN, END], [BEGIN, END, END], [BEGIN, END] * 2]
)
def test_markers_that_are_no_pair_are_refused(markers):
    text = "mine\n" + "\nmine\n".join(markers) + "\nmine\n"
    with pytest.raises(CardError, match=r"the markers .* are no pair; put them back"):
        merged(text)


def test_our_first_card_is_replaced():
    text = merged(CARD.decode())
    assert text.count(BEGIN) == 1 and "# Ours" in text and "<this repo>" not in text


def test_the_yaml_behind_a_byte_order_mark_or_with_other_line_breaks_counts():
    for standing in ("\ufeff---\nlicense: mit\n---\nmine\n", "---\r\nlicense: mit\r\n---\r\nmine\r\n"):
        text = merged(standing)
        assert keys(text)["license"] == "mit" and "\nmine" in text
        assert text.count("\n---\n") == 1


@pytest.mark.parametrize(
    ("standing", "said"),
    [
        (b"---\na: 1\nlicense: [mit,\nb: 2\n---\n", "its YAML can't be read (line 5: "),
        (b"---\na: b: c\n---\n", "its YAML can't be read (line 2: mapping values are not allowed here)"),
        (b"---\n- a\n- b\n---\n", "its YAML is no list of keys and values"),
        (b"---\nlicense: mit\n\nand no end\n", "begins with ---, but its YAML does not stand between"),
        (b"---  \nlicense: mit\n---\n", "begins with ---, but its YAML does not stand between"),
        (b"---\na: \x07\n---\n", "its YAML can't be read (ReaderError)"),
        (b"---\nconfigs: none\n---\n", "configs or dataset_info in its YAML is no list"),
        (b"---\nlicense: mit\n---\n\xff\xfe", "is no UTF-8 text (byte 21)"),
    ],
)
def test_a_damaged_card_is_refused_in_one_line(standing, said):
    with pytest.raises(CardError) as refused:
        whole_card(standing, FACTS, THEN)
    assert said in str(refused.value)
    assert "nothing was changed; mend it on the Hub" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_keys_of_ours_follow_the_figures_in_place_of_what_stood_there():
    text = merged("---\nsize_categories: [n>1T]\nlanguage:\n- xx\n# about the next\nlicense: mit\n# last\n---\nmine\n")
    assert keys(text)["size_categories"] == ["n<1K"]
    assert keys(text)["language"] == ["de", "en"]
    assert text.startswith("---\n# about the next\nlicense: mit\n# last\n")


def test_a_persons_configs_stay_and_a_default_of_theirs_wins():
    theirs = "configs:\n- config_name: short\n  data_files: short/*.parquet\n- config_name: en\n  data_files: mine\n"
    infos = "dataset_info:\n- config_name: short\n  features: []\n- config_name: default\n  features: []\n"
    found = keys(merged(f"---\n{theirs}{infos}---\n"))
    assert [config["config_name"] for config in found["configs"]] == ["all", "de", "en", "short"]
    assert found["configs"][0]["default"] is True
    assert found["configs"][2]["data_files"] == [{"split": "train", "path": "data/en/*.parquet"}]
    assert [info["config_name"] for info in found["dataset_info"]] == ["all", "de", "en", "short", "default"]
    found = keys(merged(f"---\n{theirs}- config_name: best\n  default: true\n  data_files: best/*\n---\n"))
    assert [config.get("default") for config in found["configs"]] == [None, None, None, None, True]


def test_a_language_that_is_gone_loses_its_config():
    found = keys(merged(merged("", MORE), facts(chunk("de"), chunk("no"))))
    assert [config["config_name"] for config in found["configs"]] == ["all", "de", "no"]
    assert found["language"] == ["de", "no"]


def test_yaml_that_cant_be_cut_by_lines_keeps_its_values():
    anchored = "size_categories: &s [big]\nother: *s\ncopy: {a: *s}\n"
    for yaml_text in (anchored, "{license: mit, other: [big], size_categories: [x]}\n", " a: 1\n b: 2\n"):
        there, found = yaml.safe_load(yaml_text), keys(merged(f"---\n{yaml_text}---\n"))
        ours = {"size_categories", "language", "configs", "dataset_info"}
        assert {key: found[key] for key in there if key not in ours} == {
            key: value for key, value in there.items() if key not in ours
        }
        assert found["size_categories"] == ["n<1K"]


def test_a_huge_card_is_written_as_any_other():
    body = "".join(f"line {number} 🎧\n" for number in range(200_000))
    front = "notes: |\n" + "".join(f"  # {number}\n" for number in range(20_000))
    text = merged(f"---\n{front}---\n{body}")
    assert text.startswith(f"---\n{front}")
    assert body in text
    assert text.count(BEGIN) == 1


def test_defaults_fill_what_is_empty_and_nothing_else():
    card = read_card(b"---\nlicense:\ntags: []\n---\n")
    found = keys(write_card(card, {}, {"license": "mit", "tags": ["a"], "pretty_name": "N"}, "s").decode())
    assert found == {"license": "mit", "tags": [], "pretty_name": "N"}


def test_nothing_is_shared_by_reference_in_the_yaml():
    text = merged("")
    front = text.split("---")[1]
    assert not any(sign in line for line, sign in itertools.product(front.splitlines(), ("&id", "*id")))
