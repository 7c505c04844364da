"""A listing of every episode folder: our scan, planning included, or boto3's paginator: `listing ours|boto3`."""

import sys

from bench.jobs import report
from r2_hf_assets.settings import load_for_scan


def ours() -> int:
    from bench.jobs.build import planned

    return sum(len(chunk.episodes) for chunk in planned(load_for_scan()))


def paginator() -> int:
    from bench.jobs.script import folders, make_client

    client = make_client()
    return len([episode for language in folders(client, "processed/") for episode in folders(client, language)])


if __name__ == "__main__":
    report(folders={"ours": ours, "boto3": paginator}[sys.argv[1]]())
