"""Languages: accepted and unknown folder names, and the list of partitions."""

import pytest

from r2_hf_assets.languages import LANGUAGES, UNKNOWN, normalize


@pytest.mark.parametrize(
    ("tag", "language"),
    [
        ("en", "en"),
        ("en-US", "en"),
        ("en_gb", "en"),
        ("ENG", "en"),
        ("eng", "en"),
        ("en-ZH", "en"),
        ("deu", "de"),
        ("ger", "de"),
        ("srp", "sr"),
        ("in", "id"),
        ("iw", "he"),
        ("jw", "jv"),
        ("ji", "yi"),
        ("mo", "ro"),
        ("fra", "fr"),
        ("fre", "fr"),
        ("zho", "zh"),
        ("cmn", "zh"),
        ("zh-TW", "zh"),
        ("zh_Hans_CN", "zh"),
        ("zh-yue", "yue"),
        ("yue", "yue"),
        ("haw", "haw"),
        ("fil", "fil"),
        ("tl", "fil"),
        ("sh", "sr"),
        ("sr-Latn", "sr"),
        ("pt-BR", "pt"),
        ("arb", "ar"),
        ("pes", "fa"),
        ("swh", "sw"),
        ("nob", "nb"),
        ("no-bok", "nb"),
        ("iw-IL", "he"),
        ("  en ", "en"),
        ("en\n", "en"),
        ("en-GB-oed", "en"),
        ("en-x-podcast", "en"),
    ],
)
def test_a_language_tag_is_normalized(tag, language):
    assert normalize(tag) == language
    assert language in LANGUAGES


@pytest.mark.parametrize(
    "tag",
    [
        "", " ", "_", "-", "-en", "en-", "en__US", "en.US", "en US", "en/de", "../en", "123", "12", "unknown",
        "UNKNOWN", "english", "Deutsch", "tlh", "junk", "und", "mul", "zxx", "mis", "qaa", "root", "C", "POSIX", "a",
        "x", "i-klingon", "x-default", "é", "日本語", "en\x00", "\ud800", "en-\ud800", "sgn", "ase", "null", "None",
        "undefined", "test", "a" * 5000, "en-" + "x" * 5000,
    ],
    ids=lambda tag: repr(tag[:20]),
)  # fmt: skip
def test_any_other_name_is_unknown(tag):
    assert normalize(tag) == UNKNOWN


def test_every_language_normalizes_to_itself():
    assert [language for language in LANGUAGES if normalize(language) != language] == []


def test_capitals_and_a_region_do_not_change_the_language():
    known = LANGUAGES[:-1]
    assert [normalize(f"{language.upper()}_us") for language in known] == list(known)


def test_unknown_is_last_and_the_rest_is_sorted_and_unique():
    assert LANGUAGES[-1] == UNKNOWN
    assert list(LANGUAGES[:-1]) == sorted(set(LANGUAGES[:-1]))
    assert UNKNOWN not in LANGUAGES[:-1]


def test_every_language_of_whisper_and_fleurs_has_a_partition():
    whisper = (
        "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt la "
        "mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be "
        "tg sd gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su yue"
    ).split()
    fleurs = "ast ceb ckb ff fil ga ig kam kea ku lg luo nso ny om umb wo xh zu".split()
    assert [code for code in whisper + fleurs if normalize(code) == UNKNOWN] == []
