"""The soak: `python -m r2_hf_assets_tests.soak --kills 200 --seed 1`. Exit code 1 when an invariant is violated."""

import argparse
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

from r2_hf_assets_tests.soak.rounds import Round, soak
from r2_hf_sandbox.s3.server import start_s3


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m r2_hf_assets_tests.soak", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="how many, in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--a-round", type=int, default=40, metavar="N", help="kills in a round")
    parser.add_argument("--keep", action="store_true", help="keep the folder of a round with a violation")
    options = parser.parse_args()
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    warnings.simplefilter("ignore")  # Dagster warns with a trace whenever the code server is down
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="r2-hf-kills-"))
    print(f"seed {options.seed}, {options.kills} kills, in {folder}", flush=True)
    try:
        with start_s3(folder / "s3") as s3:
            rounds = soak(
                folder,
                s3,
                seed=options.seed,
                kills=options.kills,
                a_round=options.a_round,
                keep=options.keep,
                log=lambda line: print(line, flush=True),
            )
    finally:
        shutil.rmtree(folder / "s3", ignore_errors=True)
        if not any(folder.glob("round-*")):
            shutil.rmtree(folder, ignore_errors=True)
    print_summary(rounds, options.seed, time.monotonic() - started)
    if folder.exists():
        print(f"the folders of rounds with violations are in {folder}")
    return 1 if any(done.broken for done in rounds) else 0


def print_summary(rounds: list[Round], seed: int, seconds: float) -> None:
    kills = Counter((kill.where, kill.target) for done in rounds for kill in done.kills)
    targets = sorted(
        {target for _, target in kills}, key=["run", "Hub", "code server", "daemon", "command", "host"].index
    )
    print(f"\n{'killed':42}" + "".join(f"{target:>13}" for target in targets) + f"{'all':>8}")
    for where in sorted({where for where, _ in kills}):
        row = [kills[where, target] for target in targets]
        print(f"{where:42}" + "".join(f"{count or '':>13}" for count in row) + f"{sum(row):>8}")
    totals = [sum(kills[where, target] for where, _ in {(w, "") for w, _ in kills}) for target in targets]
    print(f"{'all':42}" + "".join(f"{count:>13}" for count in totals) + f"{sum(totals):>8}")
    runs = sum((done.runs for done in rounds), Counter[str]())
    rows = [done.rows for done in rounds]
    print(
        f"\nruns {runs['runs']}: {runs['success']} succeeded, {runs['failure']} failed; {runs['retries']} were retries"
    )
    print(
        f"runs left without a process: {runs['lost']} ended by lost_runs, {runs['ended_as_lost']} as an operator would"
    )
    print(
        f"rows: {sum(r.expected for r in rows)} expected, {sum(r.found for r in rows)} found, "
        f"{sum(r.lost for r in rows)} lost, {sum(r.double for r in rows)} double, {sum(r.wrong for r in rows)} wrong"
    )
    kinds = sum((done.removals for done in rounds), Counter[str]())
    print(
        f"removals {kinds.total()} ({', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))}), "
        f"refreshes {sum(done.refreshes for done in rounds)}; "
        f"commands called again {sum(done.called_again for done in rounds)}; "
        f"kills in runs of amended chunks {sum(kill.detail == 'amended' for done in rounds for kill in done.kills)}; "
        f"files of later commits read {sum(done.files_read for done in rounds)}"
    )
    print(f"chunks {sum(done.chunks for done in rounds)}, commits {sum(done.commits for done in rounds)}")
    print(f"violations: {sum(len(done.broken) for done in rounds)}; seed {seed}; {seconds:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
