"""The fuzzer: it finds and saves a planted error, and a seed reproduces its inputs."""

from itertools import islice

import pytest

from r2_hf_assets.bucket import segments
from r2_hf_assets.languages import normalize
from r2_hf_assets_tests.property import fuzz


def test_thousands_of_inputs_violate_no_invariant():
    assert fuzz.fuzz(1, count=5000) == (5000, None)


def test_a_seed_gives_the_same_inputs():
    def some(seed: int) -> list[bytes]:
        return list(islice(fuzz.inputs(seed, fuzz.check), 300))

    assert some(1) == some(1) != some(2)


def test_inputs_are_of_every_kind():
    outcomes = [fuzz.check(data) for data in islice(fuzz.inputs(1, fuzz.check), 2000)]
    text = str(outcomes)
    assert all(
        kind in text for kind in ("metadata_empty", "metadata_not_json", "metadata_not_a_list", "utf-16", "utf-32")
    )
    tuples = [outcome for outcome in outcomes if isinstance(outcome, tuple)]
    assert sum(any(isinstance(part, frozenset) for part in outcome) for outcome in tuples) > 400
    assert len(set(outcomes)) > 100


def test_a_failing_input_is_saved_and_fails_again(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(segments, "normalize", lambda tag: normalize(tag) if tag.isascii() else tag[1])
    assert fuzz.main(["--inputs", "5000"]) == 1
    (saved,) = tmp_path.iterdir()
    assert f"run again with: python -m r2_hf_assets_tests.property.fuzz {saved.name}" in capsys.readouterr().err
    with pytest.raises((AssertionError, IndexError)):
        fuzz.main([saved.name])
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert fuzz.main([saved.name]) == 0
