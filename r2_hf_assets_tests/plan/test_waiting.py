"""A month of uploads: no episode waits longer than PLAN_MAX_WAIT_HOURS plus one interval between scans."""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from obstore.store import MemoryStore

from r2_hf_assets.plan.scan import ScanRules, is_held_back, scan
from r2_hf_assets.plan.store import PlanStore
from r2_hf_assets_tests.support.build_samples import NO_WAIT, PREFIX, put_folders
from r2_hf_assets_tests.support.store_gets import MemoryBucket

START = datetime(2026, 1, 1, tzinfo=UTC)
LIMIT, INTERVAL = timedelta(hours=24), timedelta(hours=6)
SIZE, DAYS = 12, 30
# Episodes a day: chunks fill more than once a day, about once a day, and once in some days.
RATES = {"en": 30, "de": 13, "fr": 3}


class Month:
    """Uploads at random times with random names, and a plan."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        self.bucket = MemoryBucket()
        self.plan = PlanStore(MemoryStore(), "podcasts", PREFIX, NO_WAIT)
        self.arrived = {
            f"{language}/{rng.randbytes(6).hex()}": START + timedelta(days=rng.uniform(0, DAYS))
            for language, rate in RATES.items()
            for _ in range(rate * DAYS)
        }
        self.left = sorted(self.arrived, key=self.arrived.__getitem__)
        self.planned: dict[str, datetime] = {}
        self.part_filled: Counter[str] = Counter()

    def upload(self, now: datetime) -> None:
        """Upload the episodes that have arrived by now."""
        count = sum(self.arrived[episode] <= now for episode in self.left)
        put_folders(self.bucket, *self.left[:count])
        self.left = self.left[count:]

    def scan(self, now: datetime, languages: frozenset[str]) -> None:
        rules = ScanRules(languages, SIZE, LIMIT)
        for chunk in scan(self.bucket, self.plan, rules, now=lambda: now).new_chunks:
            self.planned |= dict.fromkeys(chunk.episodes, now)
            self.part_filled[chunk.language] += len(chunk.episodes) < SIZE

    def sweep(self, now: datetime) -> None:
        """Scan only the languages that are ready, like the sensor."""
        uploaded = Counter(episode.split("/")[0] for episode in self.arrived if self.arrived[episode] <= now)
        new = +(uploaded - Counter(episode.split("/")[0] for episode in self.planned))
        ready = (name for name, count in new.items() if count >= SIZE or not is_held_back(name, self.plan, LIMIT, now))
        if languages := frozenset(ready):
            self.scan(now, languages)


@pytest.mark.parametrize("by_sensor", [False, True], ids=["schedule", "sensor"])
def test_no_episode_waits_longer_than_the_limit_plus_an_interval(by_sensor: bool) -> None:
    month = Month(seed=13)
    now = START
    while now < START + timedelta(days=DAYS) + LIMIT + INTERVAL:
        now += INTERVAL
        month.upload(now)
        if by_sensor:
            month.sweep(now)
        else:
            month.scan(now, frozenset(RATES))
    waits = {episode: month.planned[episode] - arrived for episode, arrived in month.arrived.items()}
    late = [episode for episode, wait in waits.items() if wait > LIMIT + INTERVAL]
    assert (late, max(waits.values()) > LIMIT) == ([], True)
    assert max(month.part_filled.values()) <= DAYS + 1, "no more than one part-filled chunk a language and day"
