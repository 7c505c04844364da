"""Runs that take turns, their medians, and the figures to reach.

A machine is never as fast now as it was a minute ago. So what is compared runs alternately, round by round, in
turned-round order every other round, and only ratios of medians are judged.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.measure import Sample

Samples = Mapping[str, Sequence[Sample]]


@dataclass(frozen=True)
class Figure:
    """One number to reach. `of` says what it is; `at_most` False means at least."""

    of: str
    value: float
    reach: float
    unit: str = "x"
    at_most: bool = True

    @property
    def met(self) -> bool:
        return self.value <= self.reach if self.at_most else self.value >= self.reach

    @property
    def share(self) -> float:
        """Of what is allowed: up to 1 is met."""
        return self.value / self.reach if self.at_most else self.reach / max(self.value, 1e-9)


@dataclass(frozen=True)
class Row:
    """One row of the table: figures, the medians they are made of, and what of it could not be measured.

    `table` is for what has no figure to reach: a head and rows, printed by themselves.
    """

    name: str
    what: str
    baseline: str
    figures: tuple[Figure, ...]
    details: tuple[str, ...] = ()
    missing: str = ""
    table: tuple[tuple[str, ...], ...] = ()
    samples: Samples = field(default_factory=dict, repr=False)


def alternate(runs: Mapping[str, Callable[[], Sample]], rounds: int, say: Callable[[str], None]) -> Samples:
    """Run each of `runs` once a round."""
    samples: dict[str, list[Sample]] = {name: [] for name in runs}
    for number in range(rounds):
        for name in list(runs)[:: -1 if number % 2 else 1]:
            sample = runs[name]()
            samples[name].append(sample)
            say(f"  round {number + 1}: {name}: {sample.wall:.2f} s, {sample.cpu:.2f} CPU s, {sample.peak_mb:.0f} MB")
    return samples


def typical(samples: Sequence[Sample], of: Callable[[Sample], float] = lambda sample: sample.wall) -> float:
    """The median of the rounds."""
    return median(of(sample) for sample in samples)


def ratio(
    samples: Samples, ours: str, theirs: str, of: Callable[[Sample], float] = lambda sample: sample.wall
) -> float:
    """Our median over theirs."""
    return typical(samples[ours], of) / typical(samples[theirs], of)


def cpu(sample: Sample) -> float:
    return sample.cpu


def peak(sample: Sample) -> float:
    return sample.peak_mb


def said(name: str) -> Callable[[Sample], float]:
    """A number that the job itself tells."""
    return lambda sample: float(sample.said[name])


def served_by(name: str) -> Callable[[Sample], float]:
    """CPU seconds of a server, 0 where the run had none of that name."""
    return lambda sample: sample.servers.get(name, 0.0)


def tell(samples: Samples) -> tuple[str, ...]:
    """A line for each kind of run: medians, and how far the rounds lie apart."""
    return tuple(
        f"{name}: {typical(runs):.2f} s ({min(r.wall for r in runs):.2f}-{max(r.wall for r in runs):.2f}), "
        f"{typical(runs, cpu):.2f} CPU s, {typical(runs, peak):.0f} MB"
        for name, runs in samples.items()
    )
