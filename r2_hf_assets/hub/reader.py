"""Read the dataset as its users do: of each config of the card a row is streamed by `datasets`, and its audio decoded.

That is what whole_dataset can't see: a card whose configs don't load, files that `datasets` refuses, audio that no
decoder takes. It costs a row group for each config: 37 MB at 32 MiB of audio.

`datasets` runs in a process of its own (`python -m r2_hf_assets.hub.reader`), one JSON line a config. Its caches are in
a temporary folder, its memory returns at its end, and Arrow's threads can't abort a run at the interpreter's exit. A
SIGALRM ends it when it takes too long, also within a C library, and also if the run that started it is gone.
"""

import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from r2_hf_assets.activity import advance
from r2_hf_assets.errors import R2HfError, first_line
from r2_hf_assets.hub.card.merge import ALL, CARD_PATH, INDEX, read_card, read_yaml
from r2_hf_assets.hub.client import HubClient
from r2_hf_assets.hub.viewer import VIEWER, ask_viewer
from r2_hf_assets.languages import LANGUAGES
from r2_hf_assets.retry import DEFAULT, Retry
from r2_hf_assets.settings import HubSettings
from r2_hf_assets.verdict import Problems, Severity, Verdict

# For all configs; one takes a second or two near the Hub, and there are 228 at most.
LIMIT_S = 600
_ERROR_CHARACTERS = 120
# Its caches would be the user's, and telemetry would count the check as a reader.
_OWN = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
_CACHES = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_XET_CACHE", "HF_DATASETS_CACHE", "HF_ASSETS_CACHE")
# What to do about each kind of problem.
ADVICE = {
    "not_loaded": "run r2-hf reconcile, then r2-hf process; if the card's YAML was edited, materialize dataset_card",
    "not_decoded": "play the row in the bucket; a broken object is taken out by r2-hf remove",
    "not_reached": "the Hub or the line is slow: run r2-hf doctor --reader",
    "viewer": "look at the dataset's page: after a commit the viewer needs minutes to hours",
}


class NothingToRead(R2HfError):
    """There is no card with configs yet, or `datasets` is not installed."""


@dataclass(frozen=True)
class Reading:
    """What became of a config. `kind` is one of ADVICE, "" if a row was read; `seen` is an error or the row's key."""

    config: str
    kind: str
    seen: str


def check_reader(hub: HubSettings, retry: Retry = DEFAULT, *, viewer: str = VIEWER, limit_s: int = LIMIT_S) -> Verdict:
    """Read a row of each config, and ask the viewer if the dataset is public and on the Hub that has one.

    `retry` is for reading the card; `datasets` has retries of its own.

    Raises NothingToRead, and AccessError or RetriesExhausted if the card can't be read.
    """
    if importlib.util.find_spec("datasets") is None:
        raise NothingToRead("no row is read, because `datasets` is not installed: pip install 'r2_hf_assets[reader]'")
    configs = card_configs(HubClient(hub, retry=retry))
    problems, read = Problems(), 0
    for reading in _read_in_process(hub, configs, limit_s):
        if reading.kind:
            problems.add(reading.kind, f"{reading.config}: {reading.seen}")
        read += not reading.kind
    numbers: dict[str, Any] = {"configs": len(configs), "read": read}
    good = f"a row of each of {len(configs)} configs was streamed, and its audio decoded"
    if not hub.private and (answer := ask_viewer(hub, viewer)):
        numbers |= {"viewer": answer.shows, "viewer_rows": answer.rows}
        good += f"; the viewer shows {answer.shows}"
        if answer.problem:
            problems.add("viewer", answer.problem)
    return problems.verdict(good, numbers, Severity.WARN)


def advice(verdict: Verdict) -> str:
    """Return what to do about the problems of a verdict of `check_reader`; "" for none."""
    return "; ".join(ADVICE[kind] for kind in verdict.numbers.get("problems_by_kind", ()))


def card_configs(repo: HubClient) -> list[str]:
    """Return the names of the generated configs in the card's YAML. Raises NothingToRead if there are none."""
    head = repo.call_with_retry("read", repo.head)
    card = repo.call_with_retry("read the card of", partial(repo.read, CARD_PATH, head)) if head else None
    listed = read_yaml(read_card(card)).get("configs") or []
    on_card = {entry.get("config_name") for entry in listed if isinstance(entry, dict)}
    names = [name for name in (ALL, INDEX, *LANGUAGES) if name in on_card]
    if not names:
        raise NothingToRead(f"no row is read, because the card of {repo.repo_id} names no configs yet: r2-hf process")
    return names


def _read_in_process(hub: HubSettings, configs: Sequence[str], limit_s: int) -> Iterator[Reading]:
    """Yield a reading for each config. The process is ended when the caller stops early."""
    unread = list(configs)
    with TemporaryDirectory(prefix="r2-hf-reader-") as folder:
        errors = Path(folder, "stderr")
        with errors.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "r2_hf_assets.hub.reader", hub.repo_id, str(limit_s), *configs],
                env=_environment(hub, folder),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        try:
            assert process.stdout is not None
            for line in process.stdout:
                advance()
                reading = Reading(**json.loads(line))
                unread.remove(reading.config)
                yield reading
        finally:
            process.kill()
            process.communicate()
        if unread:
            seen = f"no result within {limit_s} s"
            if process.returncode != -signal.SIGALRM:
                last = (errors.read_text(errors="replace").splitlines() or ["no message"])[-1]
                seen = f"the process ended with {process.returncode}: {last[:_ERROR_CHARACTERS]}"
            yield from (Reading(config, "not_reached", seen) for config in unread)


def _environment(hub: HubSettings, folder: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in _CACHES}
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    own = {"HF_HOME": folder, "HF_ENDPOINT": hub.endpoint, "HF_TOKEN": hub.token, "PYTHONPATH": path}
    return {**inherited, **_OWN, **own}


def read_row(repo_id: str, config: str) -> Reading:
    """Stream the first row of a config, and decode its audio if it has some."""
    import soundfile
    from datasets import Audio, load_dataset
    from pyarrow.dataset import ParquetFragmentScanOptions

    # Otherwise the next two row groups are fetched as well, 64 MiB.
    one_row = {"batch_size": 1, "fragment_scan_options": ParquetFragmentScanOptions(pre_buffer=False)}
    try:
        rows = load_dataset(repo_id, config, split="train", streaming=True, **one_row)
        if "audio" in (rows.features or {}):
            rows = rows.cast_column("audio", Audio(decode=False))  # decoding would need torch
        row = next(iter(rows), None)
    except Exception as error:  # of datasets, huggingface_hub, pyarrow, fsspec
        return Reading(config, "not_loaded", first_line(error))
    if row is None:
        return Reading(config, "not_loaded", "it has no row")
    if "audio" not in row:
        return Reading(config, "", "")
    key = str(row["audio"]["path"])
    try:
        samples, _ = soundfile.read(io.BytesIO(row["audio"]["bytes"] or b""))
    except soundfile.LibsndfileError as error:
        return Reading(config, "not_decoded", f"{key}: {first_line(error)}")
    return Reading(config, "" if len(samples) else "not_decoded", key)


def _main(repo_id: str, limit_s: str, *configs: str, output: IO[str] = sys.stdout) -> None:
    signal.alarm(int(limit_s))
    with redirect_stdout(sys.stderr):  # of libraries
        for config in configs:
            print(json.dumps(vars(read_row(repo_id, config))), file=output, flush=True)
    # Arrow's threads can still use a Python file, which aborts the interpreter at its exit.
    os._exit(0)


if __name__ == "__main__":
    _main(*sys.argv[1:])
