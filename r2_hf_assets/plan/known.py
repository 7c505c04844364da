"""Which episodes are planned, in little memory and within little time: for who asks again and again.

Episodes are remembered as sorted 64-bit hashes, 8 bytes each. Sealed chunks never change, so a manifest is read once:
what is kept is only topped up, a piece at a time when time is short. That a new episode shares its hash with one of a
million planned ones happens once in ten million million times, and costs no data: a scan compares names.

Were the plan put back to an earlier state, or replaced, chunks could hold other members than those remembered here.
So the newest known chunk of each language is read again each time; when it differs, that language is learned anew.
"""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc

from r2_hf_assets.plan.store import PlanStore

_READ_AT_ONCE = 64


@dataclass
class _Language:
    chunks: int = 0
    newest: str = ""  # digest
    hashes: array = field(default_factory=lambda: array("q"))


@dataclass
class Known:
    """The planned episodes of one plan, as far as it was read."""

    languages: dict[str, _Language] = field(default_factory=dict)

    def learn(self, plan: PlanStore, chunks: Mapping[str, int], in_time: Callable[[], bool]) -> bool:
        """Read manifests that are not known yet. False when time ran out: ask again, to go on from there.

        Args:
            chunks: how many chunks each language has.
            in_time: asked between two batches; one batch is always read.

        Raises:
            PlanError: the plan is damaged.
            GaveUp: it can't be read now.
        """
        self._forget_what_changed(plan, chunks)
        wanted = (
            (language, number)
            for language, count in sorted(chunks.items())
            for number in range(self._of(language).chunks, count)
        )
        grown = set()
        complete = True
        while batch := list(islice(wanted, _READ_AT_ONCE)):
            for chunk in plan.read_many(batch):
                kept = self._of(chunk.language)
                kept.hashes.extend(map(hash, chunk.episodes))
                kept.chunks, kept.newest = chunk.number + 1, chunk.digest
                grown.add(chunk.language)
            if not in_time():
                complete = next(wanted, None) is None
                break
        for language in grown:
            self._of(language).hashes = _sorted(self._of(language).hashes)
        return complete

    def has(self, language: str, episode: str) -> bool:
        """Whether "<folder>/<episode_id>" is planned."""
        hashes, wanted = self._of(language).hashes, hash(episode)
        place = bisect_left(hashes, wanted)
        return place < len(hashes) and hashes[place] == wanted

    @property
    def chunks(self) -> int:
        """Chunks that are known."""
        return sum(language.chunks for language in self.languages.values())

    @property
    def episodes(self) -> int:
        """Episodes that are known."""
        return sum(len(language.hashes) for language in self.languages.values())

    def _of(self, language: str) -> _Language:
        return self.languages.setdefault(language, _Language())

    def _forget_what_changed(self, plan: PlanStore, chunks: Mapping[str, int]) -> None:
        for language, kept in list(self.languages.items()):
            if kept.chunks > chunks.get(language, 0):
                del self.languages[language]
        newest = [(language, kept.chunks - 1) for language, kept in self.languages.items() if kept.chunks]
        for chunk in plan.read_many(newest):
            if chunk.digest != self.languages[chunk.language].newest:
                del self.languages[chunk.language]


def _sorted(hashes: array) -> array:
    """By Arrow, which needs no object for each."""
    unsorted = pa.Array.from_buffers(pa.int64(), len(hashes), [None, pa.py_buffer(hashes)])
    ordered = unsorted.take(pc.sort_indices(unsorted))
    found = array("q")
    found.frombytes(memoryview(ordered.buffers()[1])[: len(hashes) * found.itemsize])
    return found
