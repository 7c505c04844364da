"""The card's text and YAML: figures by language, loading, provenance; valid for `datasets` and the Hub."""

import json
from dataclasses import replace

import pytest
import yaml
from datasets import DatasetInfo, Features
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard

from r2_hf_assets.hub.card.commit import update_card
from r2_hf_assets.hub.card.facts import by_language, digest_of
from r2_hf_assets.hub.card.text import CARD, fingerprint, read_chunk_count, read_stamp, section, size_category
from r2_hf_assets.languages import LANGUAGES
from r2_hf_assets.shards.index import INDEX_SCHEMA
from r2_hf_assets.shards.schema import SCHEMA
from r2_hf_assets_tests.hub.card.samples import LATER, THEN, chunk, facts, stats


def card(*chunks, **more) -> DatasetCard:
    return DatasetCard(update_card(None, facts(*chunks, **more), THEN).decode())


def row(text: str, name: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def features(data, name: str) -> Features:
    declared = DatasetInfosDict.from_dataset_card_data(data)[name].features
    assert isinstance(declared, Features)
    return declared


def test_a_new_card_declares_the_features_of_the_shards_and_of_the_index():
    data = DatasetCard(CARD.decode()).data
    declared = features(data, "all")
    assert declared == Features.from_dict(json.loads(SCHEMA.metadata[b"huggingface"])["info"]["features"])
    assert list(declared) == SCHEMA.names
    assert features(data, "metadata").arrow_schema.equals(INDEX_SCHEMA)
    configs = MetadataConfigs.from_dataset_card_data(data)
    # The indexes are first: every chunk has one, and `datasets` raises if the first config has no files.
    assert list(configs) == ["metadata", "all"] and configs.get_default_config_name() == "all"
    assert configs["metadata"]["data_files"] == [{"split": "train", "path": "metadata/*/chunk-*.parquet"}]


def test_the_index_is_the_last_config_where_a_chunk_has_one():
    data = card(chunk("de")).data
    assert features(data, "metadata").arrow_schema.equals(INDEX_SCHEMA)
    text = update_card(None, replace(facts(chunk("de")), indexed=False), THEN).decode()
    bare = DatasetCard(text).data
    assert [entry["config_name"] for entry in bare.configs] == ["all", "de"]
    assert list(DatasetInfosDict.from_dataset_card_data(bare)) == ["all", "de"]
    assert "config `metadata`" in update_card(None, facts(chunk("de")), THEN).decode() and "`metadata`" not in text


def test_datasets_reads_a_config_for_each_language_and_one_for_all():
    data = card(chunk("de"), chunk("no"), chunk("unknown", rows=50)).data
    configs = MetadataConfigs.from_dataset_card_data(data)
    assert {name: config["data_files"] for name, config in configs.items()} == {
        "all": [{"split": "train", "path": "data/*/*.parquet"}],
        "de": [{"split": "train", "path": "data/de/*.parquet"}],
        "no": [{"split": "train", "path": "data/no/*.parquet"}],
        "unknown": [{"split": "train", "path": "data/unknown/*.parquet"}],
        "metadata": [{"split": "train", "path": "metadata/*/chunk-*.parquet"}],
    }
    assert configs.get_default_config_name() == "all"
    infos: dict[str, DatasetInfo] = DatasetInfosDict.from_dataset_card_data(data)
    assert list(infos) == list(configs)
    infos.pop("metadata")
    for info in infos.values():
        assert isinstance(info.features, Features)
        assert list(info.features) == SCHEMA.names
        assert type(info.features["audio"]).__name__ == "Audio"
        # datasets refuses more rows than the card declares, and the dataset grows between two cards.
        assert info.splits is None
    assert [info.download_size for info in infos.values()] == [2_500_000, 1_000_000, 1_000_000, 500_000]


def test_the_yaml_has_languages_size_license_and_title():
    data = card(chunk("no"), chunk("yue"), chunk("unknown"), title="Talks", license="cc-by-4.0").data
    assert (data.language, data.size_categories, data.license) == (["no", "yue"], ["n<1K"], "cc-by-4.0")
    assert (data.pretty_name, data.tags) == ("Talks", ["audio", "speech"])
    assert data.task_categories == ["automatic-speech-recognition", "text-to-speech"]
    bare = card(chunk("unknown")).data.to_dict()
    assert {"language", "license", "pretty_name"}.isdisjoint(bare)


@pytest.mark.parametrize(
    ("rows", "name"),
    [
        (1, "n<1K"),
        (999, "n<1K"),
        (1000, "1K<n<10K"),
        (9_999, "1K<n<10K"),
        (10_000, "10K<n<100K"),
        (999_999_999, "100M<n<1B"),
        (10**9, "1B<n<10B"),
        (10**12 - 1, "100B<n<1T"),
        (10**12, "n>1T"),
    ],
)
def test_size_categories_are_the_hubs(rows, name):
    assert size_category(rows) == name


def test_the_table_adds_up():
    text = card(chunk("de"), chunk("en", rows=2000), chunk("en", 1, rows=1000)).text
    assert row(text, "`de`") == ["`de`", "0.12", "10", "100", "20", "1.00MB"]
    assert row(text, "`en`") == ["`en`", "3.75", "300", "3,000", "600", "30.0MB"]
    assert row(text, "**`all`**") == ["**`all`**", "3.88", "310", "3,100", "620", "31.0MB"]
    assert "![Segments by duration (3,100 known) and by DNSMOS (3,100 known)](assets/quality.svg)" in text
    assert 'load_dataset("me/speech", "de", split="train", streaming=True)' in text
    assert "still grows" not in text and "chunks;" not in text


def test_one_language_has_no_sum_and_an_incomplete_dataset_is_stated():
    text = card(chunk("de"), planned=3).text
    assert "**`all`**" not in text
    assert "1 of 3 planned chunks are here" in text


def test_chunks_without_stats_count_in_rows_and_bytes():
    text = card(chunk("de"), chunk("de", 1, counted=False), chunk("en", counted=False)).text
    assert row(text, "`de`") == ["`de`", "0.12", "10", "200", "20", "2.00MB"]
    assert row(text, "`en`") == ["`en`", "?", "?", "100", "?", "1.00MB"]
    assert "are of 1 of 3 chunks" in text
    assert "assets/quality.svg" not in card(chunk("en", counted=False)).text


def test_a_language_without_rows_has_no_config():
    """A config without a file can't be loaded."""
    assert [c["config_name"] for c in card(chunk("de"), chunk("fr", rows=0)).data.configs] == ["all", "de", "metadata"]


def test_the_provenance_reads_back():
    shown = facts(chunk("de"), chunk("en"))
    text = section(shown, THEN, alone=True)
    assert read_stamp(text) == THEN and read_stamp(section(shown, LATER, alone=False)) == LATER
    assert read_chunk_count(text) == 2 and read_chunk_count(None) == read_chunk_count("12 chunks") == 0
    assert read_chunk_count(section(facts(*(chunk("de", n, 1) for n in range(1234))), THEN, alone=True)) == 1234
    assert read_stamp(None) is read_stamp("As of yesterday") is None
    assert f"by digest `{shown.digest}`" in text
    assert "https://huggingface.co/datasets/me/speech/tree/abc123" in text


def test_the_digest_depends_on_names_and_digests_but_not_on_the_order():
    de, en = ("de", 0), ("en", 0)
    assert digest_of({de: "a", en: "b"}) == digest_of({en: "b", de: "a"})
    others = ({de: "a"}, {de: "a", ("en", 1): "b"}, {de: "a", en: "other"})
    assert len({digest_of(chunks) for chunks in ({de: "a", en: "b"}, *others)}) == 4


def test_the_fingerprint_depends_on_figures_of_the_picture():
    one = facts(chunk("de"))
    moved = replace(stats(), dnsmos=(100, *(0,) * (len(stats().dnsmos) - 1)))
    other = replace(one, languages=by_language({("de", 0): replace(chunk("de").figures, stats=moved)}))
    assert section(one, THEN, alone=True).splitlines()[:-1] == section(other, THEN, alone=True).splitlines()[:-1]
    assert fingerprint(one) != fingerprint(other)
    assert update_card(update_card(None, one, THEN), other, LATER).count(b"def456") == 2


def test_a_card_of_every_language_is_valid():
    text = update_card(None, facts(*(chunk(name) for name in LANGUAGES)), THEN).decode()
    found = yaml.safe_load(text.split("---")[1])
    assert [config["config_name"] for config in found["configs"]] == ["all", *sorted(LANGUAGES), "metadata"]
    assert all(isinstance(name, str) for name in found["language"])
    assert update_card(text.encode(), facts(*(chunk(name) for name in LANGUAGES)), LATER) == text.encode()
