"""One is singular, all else plural."""

from r2_hf_assets.plural import plural


def test_a_count_has_its_noun_in_the_right_number() -> None:
    assert [plural(number, "chunk") for number in (0, 1, 2, 2048)] == [
        "0 chunks",
        "1 chunk",
        "2 chunks",
        "2,048 chunks",
    ]
    assert [plural(number, "index is", "indexes are") for number in (1, 3)] == ["1 index is", "3 indexes are"]
