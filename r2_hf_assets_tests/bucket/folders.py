"""A server's listing of folders, in either order that servers list in; and names that folders may have."""

import bisect
from collections.abc import Iterable
from contextlib import closing
from typing import Any
from urllib.parse import parse_qs, quote

from hypothesis import strategies as st

from r2_hf_assets.bucket.listing import LanguageFolder, list_episodes
from r2_hf_assets.retry import Retry
from r2_hf_assets_tests.support.objects_server import Response

BELOW = "processed/en/"
LETTERS = st.characters(min_codepoint=0x20, exclude_characters="/\x7f", exclude_categories=["Cs"])
NAMES = st.sets(
    st.one_of(
        st.text(LETTERS, min_size=1, max_size=4),
        st.integers(0, 300).map(lambda number: f"ep{number:06d}"),
        st.text("ab!.", min_size=1, max_size=6),
    ).filter(lambda name: name not in (".", "..")),
    max_size=120,
)


class FolderListing:
    """Answers ListObjectsV2 about folders of one object each, `size` names a page, by key (S3) or by name (SeaweedFS).

    With `repeats` a page begins with the name that ended the one before.
    """

    def __init__(self, names: Iterable[str], size: int, *, by_name: bool, repeats: bool = False) -> None:
        self.names = sorted(names) if by_name else sorted(names, key=lambda name: f"{name}/")
        self.size, self.by_name, self.repeats = size, by_name, repeats
        self.requests = 0

    def respond(self, key: str, _count: int) -> Response:
        asked = {name: values[0] for name, values in parse_qs(key[1:], keep_blank_values=True).items()}
        assert asked["prefix"] == BELOW and asked["delimiter"] == "/"
        self.requests += 1
        first = int(asked["continuation-token"]) if "continuation-token" in asked else self._behind(asked)
        last = first + min(self.size, int(asked["max-keys"]))
        items = "".join(
            f"<CommonPrefixes><Prefix>{quote(f'{BELOW}{name}/')}</Prefix></CommonPrefixes>"
            for name in self.names[max(0, first - (self.repeats and "continuation-token" in asked)) : last]
        )
        more = last < len(self.names)
        said = f"<EncodingType>url</EncodingType><IsTruncated>{str(more).lower()}</IsTruncated>"
        token = f"<NextContinuationToken>{last}</NextContinuationToken>" if more else ""
        return Response(200, f"<ListBucketResult>{said}{token}{items}</ListBucketResult>".encode())

    def _behind(self, asked: dict[str, str]) -> int:
        after = asked.get("start-after", "").removeprefix(BELOW)
        if self.by_name:  # a folder is an entry by its name, and behind what is in it is behind it
            return bisect.bisect_right(self.names, after.partition("/")[0])
        # Its object's key is what is compared.
        return bisect.bisect_right([f"{name}/all_segments.json" for name in self.names], after)


def episode_ids(store: Any, prefix: str, folder: str, retry: Retry) -> list[str]:
    """All episodes below one language folder, as a scan lists them."""
    with closing(list_episodes(store, prefix, [LanguageFolder(folder, folder)], retry)) as found:
        return [name for batches in found for names in batches for name in names]
