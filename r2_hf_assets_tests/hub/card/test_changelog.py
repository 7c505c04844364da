"""The changelog on the card: figures of each release, removals as counts, and nothing that ends the section."""

from dataclasses import replace

from r2_hf_assets.hub.card.changelog import changelog
from r2_hf_assets.hub.card.commit import commit_card, update_card
from r2_hf_assets.hub.card.merge import BEGIN, CARD_PATH, END, read_card
from r2_hf_assets.hub.card.text import read_chunk_count, read_stamp
from r2_hf_assets.hub.releases import RELEASES_PATH, Changes, Release, encode
from r2_hf_assets_tests.hub.card.samples import LATER, THEN, chunk, facts
from r2_hf_assets_tests.hub.fake_repo import FakeRepo
from r2_hf_assets_tests.hub.uploads import CLAIM

FACTS = facts(chunk("de"), chunk("en"))
V1 = Release("v1.0", "2026-11-29T12:00:00+00:00", "The first", 1234, 9.5, (("de", 1), ("en", 2000)), 4, 1)
V2 = replace(
    V1,
    tag="v2.0",
    at="2026-12-24T12:00:00+00:00",
    note="",
    hours=12.25,
    since="v1.0",
    changes=Changes(1, 1, 2000, 3),
    removed_segments=10,
)


def test_releases_are_listed_with_their_figures_as_they_were():
    text = changelog(replace(FACTS, releases=(V2, V1), removed_segments=10, removed_episodes=1))
    assert text == (
        "## Releases\n\n"
        "### v2.0, 2026-12-24\n\n"
        "1,234 segments, 12.2 hours; episodes: `de` 1, `en` 2,000.\n\n"
        "Since v1.0: 1 segment and 1 episode added; 2,000 segments and 3 episodes removed.\n\n"
        "Removed on request: 6 segments.\n\n"
        '```python\nload_dataset("me/speech", revision="v2.0")\n```\n\n'
        "### v1.0, 2026-11-29\n\n"
        "The first\n\n"
        "1,234 segments, 9.50 hours; episodes: `de` 1, `en` 2,000.\n\n"
        "Removed on request: 4 segments and 1 whole episode.\n\n"
        '```python\nload_dataset("me/speech", revision="v1.0")\n```'
    )


def test_removals_since_the_last_release_are_counted():
    def line(segments: int, episodes: int, *releases: Release) -> str:
        text = changelog(replace(FACTS, removed_segments=segments, removed_episodes=episodes, releases=releases))
        return next((line for line in text.splitlines() if line.startswith(("Removed so", "Removed since"))), "")

    assert line(0, 0) == line(4, 1, V1) == line(0, 0, V1) == ""
    assert line(2, 1) == "Removed so far: 2 segments and 1 whole episode."
    assert line(5, 1, V1) == "Removed since v1.0: 1 segment."
    # Its episode is removed whole after two of its segments were.
    assert line(2, 3, V1) == "Removed since v1.0: 2 whole episodes."
    assert changelog(FACTS) == "", "no heading without a release and a removal"


def test_what_is_not_complete_is_stated():
    text = changelog(replace(FACTS, releases=(replace(V1, lacking="1 of 4 planned chunks are due"),)))
    assert "\n\nIncomplete: 1 of 4 planned chunks are due.\n\n" in text


def test_a_note_neither_ends_the_section_nor_replaces_the_stamp():
    note = f"{END} As of 2020-01-01 00:00 UTC, at revision [`abc`] {BEGIN}"
    shown = replace(FACTS, releases=(replace(V1, note=note),))
    card = update_card(b"# Mine\n", shown, THEN)
    section = read_card(card).section
    assert read_stamp(section) == THEN and read_chunk_count(section) == 2
    assert update_card(card, shown, LATER) == card
    assert update_card(card, FACTS, THEN) == update_card(b"# Mine\n", FACTS, THEN)


def repo_with(*releases: Release) -> FakeRepo:
    repo = FakeRepo()
    repo.write(RELEASES_PATH, encode(releases))
    repo.tags = {one.tag: repo.head() or "" for one in releases}
    return repo


def write(repo: FakeRepo) -> str:
    commit_card(repo, FACTS, THEN.at, CLAIM.plan_id)
    return repo.text(CARD_PATH)


def test_releases_survive_the_updates_of_the_card():
    repo = repo_with(V2, V1)
    text = write(repo)
    assert text.index("### v2.0") < text.index("### v1.0") < text.index(END)
    repo.write(CARD_PATH, b"# Mine\n")
    assert changelog(replace(FACTS, releases=(V2, V1))) in write(repo), "a lost card"
    repo.write(CARD_PATH, write(repo).replace("### v1.0", "### v0.1").encode())
    assert changelog(replace(FACTS, releases=(V2, V1))) in write(repo), "an edited one"
    repo.write(RELEASES_PATH, b"not JSON")
    assert changelog(replace(FACTS, releases=(V2, V1))) in write(repo), "the tags have the entries too"
    assert not commit_card(repo, FACTS, LATER.at, CLAIM.plan_id).committed


def test_the_tags_decide_which_releases_exist():
    repo = repo_with(V2, V1)
    repo.tags = {"v1.0": "oid-1", "by-hand": "oid-0"}
    text = write(repo)
    assert "### v1.0" in text and "v2.0" not in text and "by-hand" not in text
