"""The bucket: is it there, may it be listed and read, is what lies in it what the job expects.

Four requests at most, with boto3: the language folders, the first episodes of one of them, an episode's
all_segments.json, and the first bytes of a segment's audio. Nothing is written.
"""

from typing import Any

from r2_hf_assets.bucket.client import UNTRUSTED, boto_refusal, s3_client
from r2_hf_assets.bucket.segments import METADATA_NAME, UnusableMetadata, parse
from r2_hf_assets.languages import UNKNOWN, normalize
from r2_hf_assets.preflight.rules import Finding, fail, judge_clock, ok, warn
from r2_hf_assets.settings import BucketSettings

# Seconds until one request of a collector is answered.
PATIENCE_S = 5.0
# Episodes looked at until one has its metadata: the first may be uploading.
_EPISODES = 5


def look_at_bucket(r2: BucketSettings) -> list[Finding]:
    """Findings `bucket`, `episode` and `clock (S3)`."""
    from botocore.exceptions import BotoCoreError, ClientError, SSLError

    client = s3_client(r2, PATIENCE_S)
    try:
        listed = client.list_objects_v2(Bucket=r2.name, Prefix=r2.prefix, Delimiter="/")
    except ClientError as error:
        seen = fail("bucket", f"{r2.name} at {r2.endpoint_url} can't be listed", boto_refusal(error))
        return [seen, judge_clock("clock (S3)", "the bucket", _date(error.response))]
    except (BotoCoreError, ValueError) as error:
        advice = UNTRUSTED if isinstance(error, SSLError) else "check R2_ENDPOINT_URL"
        return [fail("bucket", f"no answer from {r2.endpoint_url} ({type(error).__name__})", advice)]
    folders = [_last(found["Prefix"]) for found in listed.get("CommonPrefixes", ())]
    clock = judge_clock("clock (S3)", "the bucket", _date(listed))
    if not folders:
        return [
            warn(
                "bucket",
                f"{r2.name} answers, and holds no folder below {r2.prefix or 'its root'}",
                "check PROCESSED_PREFIX and R2_BUCKET, or put episodes there",
            ),
            clock,
        ]
    try:
        episode = _look_at_an_episode(client, r2, folders)
    except ClientError as error:
        episode = fail("episode", "objects can be listed and not read", boto_refusal(error))
    except BotoCoreError as error:
        episode = fail("episode", f"no answer while one was read ({type(error).__name__})", "try again")
    return [_judge_folders(r2, folders, bool(listed.get("IsTruncated"))), episode, clock]


def _judge_folders(r2: BucketSettings, folders: list[str], more: bool) -> Finding:
    strange = [name for name in folders if normalize(name) == UNKNOWN != name]
    known = len(folders) - len(strange)
    seen = f"{r2.name} answers; {known}{' or more' if more else ''} language folders below {r2.prefix or 'its root'}"
    if not known:
        named = ", ".join(map(ascii, strange[:3]))
        return warn("bucket", f"{seen}; {named} name none", "check PROCESSED_PREFIX: languages lie right below it")
    return ok("bucket", seen)


def _look_at_an_episode(client: Any, r2: BucketSettings, folders: list[str]) -> Finding:
    from botocore.exceptions import ClientError

    folder = next((name for name in folders if normalize(name) != UNKNOWN), folders[0])
    below = client.list_objects_v2(Bucket=r2.name, Prefix=f"{r2.prefix}{folder}/", Delimiter="/", MaxKeys=_EPISODES)
    episodes = [_last(found["Prefix"]) for found in below.get("CommonPrefixes", ())]
    if not episodes:
        return warn("episode", f"no folder below {folder}/", f"episodes are {r2.prefix}{folder}/<episode_id>/")
    problem = ""
    for episode in episodes:
        where = f"{folder}/{episode}"
        key = f"{r2.prefix}{where}/{METADATA_NAME}"
        try:
            body = client.get_object(Bucket=r2.name, Key=key)["Body"].read()
            entries, _ = parse(body)
            if not entries:
                raise UnusableMetadata("no_segments", "an empty list")
            audio = f"{r2.prefix}{where}/{episode}_000000.mp3"
            client.get_object(Bucket=r2.name, Key=audio, Range="bytes=0-3")["Body"].read()
            return ok("episode", f"{ascii(where)[1:-1]} can be read: {len(entries)} segments")
        except UnusableMetadata as found:
            problem = f"{ascii(where)[1:-1]}: {found}"
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") != "NoSuchKey":
                raise
            problem = f"{ascii(where)[1:-1]} lacks {METADATA_NAME} or its first audio"
    return warn("episode", f"none of the first {len(episodes)} is whole; {problem}", "look at what lies there")


def _last(prefix: str) -> str:
    return prefix.rstrip("/").rsplit("/", 1)[-1]


def _date(answer: Any) -> str | None:
    return answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
