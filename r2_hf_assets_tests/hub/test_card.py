"""The card declares the columns that the shards have, so that load_dataset and the viewer play the audio."""

import json

from datasets import Features
from huggingface_hub import DatasetCard

from r2_hf_assets.hub.card.merge import CARD_PATH
from r2_hf_assets.hub.card.text import CARD
from r2_hf_assets.shards.schema import SCHEMA


def test_the_card_declares_the_features_of_the_shards():
    declared = DatasetCard(CARD.decode()).data.to_dict()["dataset_info"]["features"]
    in_the_files = json.loads(SCHEMA.metadata[b"huggingface"])["info"]["features"]
    features = Features._from_yaml_list(declared)
    assert features == Features.from_dict(in_the_files)
    assert list(features) == SCHEMA.names


def test_the_card_is_the_readme():
    assert CARD_PATH == "README.md" and CARD.startswith(b"---\n")
