"""A server's listing of folders, in either order that servers use, and a strategy for folder names."""

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
    """Responds to ListObjectsV2 for folders of one object each: `size` names a page, by key (S3) or name (SeaweedFS).

    With `repeats` a page begins with the last name of the previous one.
    """

    def __init__(self, names: Iterable[str], size: int, *, by_name: bool, repeats: bool = False) -> None:
        self.names = sorted(names) if by_name else sorted(names, key=lambda name: f"{name}/")
        self.size, self.by_name, self.repeats = size, by_name, repeats
        self.requests = 0

    def respond(self, key: str, _count: int) -> Response:
        query = {name: values[0] for name, values in parse_qs(key[1:], keep_blank_values=True).items()}
        assert query["prefix"] == BELOW and query["delimiter"] == "/"
        self.requests += 1
        first = int(query["continuation-token"]) if "continuation-token" in query else self._behind(query)
        last = first + min(self.size, int(query["max-keys"]))
        items = "".join(
            f"<CommonPrefixes><Prefix>{quote(f'{BELOW}{name}/')}</Prefix></CommonPrefixes>"
            for name in self.names[max(0, first - (self.repeats and "continuation-token" in query)) : last]
        )
        more = last < len(self.names)
        head = f"<EncodingType>url</EncodingType><IsTruncated>{str(more).lower()}</IsTruncated>"
        token = f"<NextContinuationToken>{last}</NextContinuationToken>" if more else ""
        return Response(200, f"<ListBucketResult>{head}{token}{items}</ListBucketResult>".encode())

    def _behind(self, query: dict[str, str]) -> int:
        after = query.get("start-after", "").removeprefix(BELOW)
        if self.by_name:  # a text behind a folder's content is behind the folder
            return bisect.bisect_right(self.names, after.partition("/")[0])
        # Object keys are compared.
        return bisect.bisect_right([f"{name}/all_segments.json" for name in self.names], after)


def episode_ids(store: Any, prefix: str, folder: str, retry: Retry) -> list[str]:
    """List all episodes below one language folder, as a scan does."""
    with closing(list_episodes(store, prefix, [LanguageFolder(folder, folder)], retry)) as listed:
        return [name for batches in listed for names in batches for name in names]
