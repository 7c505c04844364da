"""What the guide shows in "Try it on this machine" is what its commands print, in that order."""

from pathlib import Path

import pytest

from r2_hf_assets_tests.integration.walkthrough import GUIDE, elided, masked, read_steps, walk


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_guide_shows_what_a_newcomer_sees(tmp_path: Path) -> None:
    steps = read_steps(GUIDE.read_text())
    assert len(steps) > 10
    with walk(tmp_path) as newcomer:
        for step in steps:
            assert masked(newcomer.do(step)) == masked(step.shown), step.command
    assert not (newcomer.folder / ".env").exists() and not (newcomer.folder / ".demo").exists()


def test_an_elided_output_keeps_its_first_and_last_lines() -> None:
    assert elided(["a", "b", "c", "d"], ("x", "...", "z")) == ("a", "...", "d")
    assert elided(["a", "b"], ("x", "...", "z")) == ("a", "b")
    assert elided(["a", "b"], ("x",)) == ("a", "b")


def test_only_what_differs_between_runs_is_masked() -> None:
    lines = (
        "en|chunk_0005: done, 4 episodes, 8.77MB in 30.4 s; 1 of 1",
        " 25%|##5       | 1/4 [00:06<00:19,  6.34s/ episodes, 2.20MB]^C",
        "S3 server at http://127.0.0.1:14959",
        "done in 25 s",
    )
    assert masked(lines) == [
        "en|chunk_0005: done, 4 episodes, 8.77MB in T s; 1 of 1",
        "BAR^C",
        "S3 server at http://127.0.0.1:PORT",
        "done in T s",
    ]
