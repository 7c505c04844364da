"""Alternating runs, their medians, and targets.

A machine's speed changes within minutes. So compared runs alternate, in reverse order every other round, and only
ratios of medians are evaluated.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.measure import Sample

Samples = Mapping[str, Sequence[Sample]]


@dataclass(frozen=True)
class Figure:
    """A measured value and its target; `at_most` False: the target is a minimum."""

    name: str
    value: float
    target: float
    unit: str = "x"
    at_most: bool = True

    @property
    def met(self) -> bool:
        return self.value <= self.target if self.at_most else self.value >= self.target


@dataclass(frozen=True)
class Row:
    """One row of the table: figures, the medians behind them, and what could not be measured.

    `table` holds measurements without a target: a head and rows, printed separately.
    """

    name: str
    what: str
    baseline: str
    figures: tuple[Figure, ...]
    details: tuple[str, ...] = ()
    missing: str = ""
    table: tuple[tuple[str, ...], ...] = ()
    samples: Samples = field(default_factory=dict, repr=False)


def alternate(runs: Mapping[str, Callable[[], Sample]], rounds: int, log: Callable[[str], None]) -> Samples:
    """Run each of `runs` once a round."""
    samples: dict[str, list[Sample]] = {name: [] for name in runs}
    for number in range(rounds):
        for name in list(runs)[:: -1 if number % 2 else 1]:
            sample = runs[name]()
            samples[name].append(sample)
            log(f"  round {number + 1}: {name}: {sample.wall:.2f} s, {sample.cpu:.2f} CPU s, {sample.peak_mb:.0f} MB")
    return samples


def typical(samples: Sequence[Sample], value: Callable[[Sample], float] = lambda sample: sample.wall) -> float:
    """Return the median of the rounds."""
    return median(value(sample) for sample in samples)


def ratio(
    samples: Samples, ours: str, baseline: str, value: Callable[[Sample], float] = lambda sample: sample.wall
) -> float:
    return typical(samples[ours], value) / typical(samples[baseline], value)


def cpu(sample: Sample) -> float:
    return sample.cpu


def peak(sample: Sample) -> float:
    return sample.peak_mb


def reported(name: str) -> Callable[[Sample], float]:
    """Return the getter of a number that the job reported."""
    return lambda sample: float(sample.reported[name])


def served_by(name: str) -> Callable[[Sample], float]:
    """Return the getter of a server's CPU seconds, 0 for a run without it."""
    return lambda sample: sample.servers.get(name, 0.0)


def summarize(samples: Samples) -> tuple[str, ...]:
    """Return a line for each kind of run: medians, and the range of the rounds."""
    return tuple(
        f"{name}: {typical(runs):.2f} s ({min(r.wall for r in runs):.2f}-{max(r.wall for r in runs):.2f}), "
        f"{typical(runs, cpu):.2f} CPU s, {typical(runs, peak):.0f} MB"
        for name, runs in samples.items()
    )
