"""Languages: every string has one, whatever its case, separators and spaces."""

import string

from hypothesis import given
from hypothesis import strategies as st

from r2_hf_assets.languages import LANGUAGES, UNKNOWN, normalize

ANYTHING = st.text(st.characters(exclude_categories=()))  # lone surrogates too
# Subtags of letters and digits, in any number.
SUBTAG = st.text(string.ascii_letters + string.digits, min_size=1, max_size=9)
TAG = st.builds("-".join, st.lists(SUBTAG, min_size=1, max_size=4))
CODES = st.one_of(st.sampled_from(LANGUAGES), st.text(string.ascii_lowercase, min_size=2, max_size=3))
REGIONS = st.sampled_from(["", "-US", "-gb", "-ZH", "-Latn", "-Cyrl-RS", "-419", "-x-podcast", "-zz", "-u-co-phonebk"])


@given(st.one_of(ANYTHING, TAG, st.builds("{}{}".format, CODES, ANYTHING)))
def test_any_string_has_a_known_language_whose_tag_is_its_own(tag):
    language = normalize(tag)
    assert language in LANGUAGES
    assert normalize(language) == language


@given(st.one_of(TAG, st.builds("{}{}".format, CODES, REGIONS)), st.sampled_from(["", " ", "\n", "\t "]))
def test_case_separators_and_outer_spaces_make_no_difference(tag, space):
    spellings = [tag, tag.upper(), tag.lower(), tag.title(), tag.swapcase()]
    spellings += [spelling.replace("-", "_") for spelling in spellings]
    assert {normalize(f"{space}{spelling}{space}") for spelling in spellings} == {normalize(tag)}


@given(st.sampled_from(LANGUAGES[:-1]), REGIONS)
def test_a_language_with_a_region_is_the_language(language, region):
    assert normalize(language + region) == language != UNKNOWN
