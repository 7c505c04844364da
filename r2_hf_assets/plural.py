"""Counts with their nouns, for messages: "1 chunk", "2,048 chunks", "1 chunk is"."""


def plural(number: int, one: str, many: str = "") -> str:
    """Return the number with `one` or with `many`, by default `one` and an s."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
