"""Text around the generated section of the card, and other YAML keys, survive a rewrite of the card."""

import yaml
from huggingface_hub import DatasetCard
from hypothesis import given, settings
from hypothesis import strategies as st

from r2_hf_assets.hub.card.commit import update_card
from r2_hf_assets.hub.card.merge import BEGIN, END, read_card
from r2_hf_assets_tests.hub.card.samples import LATER, THEN, chunk, facts

FACTS = facts(chunk("de"), chunk("en"))
TEXTS = st.text(st.sampled_from("ab-# \n\r\t🎙<!>:'\"|&*{}[]"), max_size=60)


# A card takes a tenth of a second, because YAML is pure Python.
@settings(max_examples=max(20, settings().max_examples // 5))
@given(before=TEXTS, after=TEXTS, value=TEXTS, crlf=st.booleans())
def test_any_text_and_any_value_survive(before, after, value, crlf):
    front = yaml.safe_dump({"custom": value, "license": "mit"}, allow_unicode=True)
    existing = f"---\n{front}---\n{before}{BEGIN}\nold\n{END}{after}"
    existing = existing.replace("\n", "\r\n") if crlf else existing
    card = read_card(existing.encode())
    data = update_card(existing.encode(), FACTS, THEN)
    again = read_card(data)
    assert (again.before, again.after) == (card.before, card.after)
    parsed = DatasetCard(data.decode()).data.to_dict()
    assert parsed["license"] == "mit"
    assert parsed.get("custom") == value
    assert update_card(data, FACTS, LATER) == data
