"""The bucket: whether it exists, can be listed and read, and has the expected folders.

Four requests without a retry: the language folders, the first episodes of one of them, an episode's all_segments.json
and the audio of its first segment; two more for each incomplete episode before it. Nothing is written.
"""

from dataclasses import replace

from r2_hf_assets.bucket.fetch import fetch_in_order
from r2_hf_assets.bucket.pages import Page, first_page
from r2_hf_assets.bucket.segments import METADATA_MAX_BYTES, METADATA_NAME, UnusableMetadata, audio_fault, read_metadata
from r2_hf_assets.bucket.transfers import Bucket
from r2_hf_assets.errors import R2HfError
from r2_hf_assets.languages import UNKNOWN, normalize
from r2_hf_assets.plan.chunks import ChunkManifest
from r2_hf_assets.plural import plural
from r2_hf_assets.preflight import Finding, fail, ok, warn
from r2_hf_assets.retry import ONCE, Retry
from r2_hf_assets.settings import BucketSettings

# Timeout of a request, in seconds.
PATIENCE_S = 5.0
# Episodes to try: the upload of the first ones may be incomplete.
_EPISODES = 5


def check_bucket(r2: BucketSettings) -> list[Finding]:
    """Return findings `bucket` and `episode`; only the first when no folder can be listed."""
    once = replace(ONCE, silence=PATIENCE_S)
    try:
        bucket = Bucket(r2)
        page = first_page(bucket, r2.prefix, once, "/")
    except R2HfError as error:
        return [fail("bucket", f"{r2.name} at {r2.endpoint_url} can't be listed", str(error))]
    if not (folders := _names(page)):
        seen = f"{r2.name} has no folder below {r2.prefix or 'its root'}"
        return [warn("bucket", seen, "check PROCESSED_PREFIX and R2_BUCKET, or put episodes there")]
    try:
        episode = _check_an_episode(bucket, r2.prefix, folders, once)
    except R2HfError as error:
        episode = fail("episode", "none can be read, though the bucket can be listed", str(error))
    return [_check_folders(r2, folders, page.token is not None), episode]


def _check_folders(r2: BucketSettings, folders: list[str], more: bool) -> Finding:
    unknown = [name for name in folders if normalize(name) == UNKNOWN != name]
    known = len(folders) - len(unknown)
    seen = f"{r2.name} has {known}{' or more' if more else ''} language folders below {r2.prefix or 'its root'}"
    if not known:
        named = ", ".join(map(ascii, unknown[:3]))
        return warn("bucket", f"{seen}; {named} name none", "check PROCESSED_PREFIX: languages are directly below it")
    return ok("bucket", seen)


def _check_an_episode(bucket: Bucket, prefix: str, folders: list[str], once: Retry) -> Finding:
    folder = next((name for name in folders if normalize(name) != UNKNOWN), folders[0])
    below = f"{prefix}{folder}/"
    episodes = _names(first_page(bucket, below, once, "/", max_keys=_EPISODES))
    if not episodes:
        return warn("episode", f"no folder below {folder}/", f"episodes are {below}<episode_id>/")
    problem = ""
    for episode in episodes:
        where = ascii(f"{folder}/{episode}")[1:-1]
        chunk = ChunkManifest(folder, 0, prefix, (f"{folder}/{episode}",))
        keys = (chunk.metadata_key(chunk.episodes[0]), chunk.audio_key(chunk.episodes[0], 0))
        bounds = {"workers": 2, "max_bytes": METADATA_MAX_BYTES, "limit": METADATA_MAX_BYTES}
        metadata, audio = (result for _, result in fetch_in_order(keys, str, bucket, **bounds, retry=once))
        try:
            entries = read_metadata(metadata)[0] if metadata else []
            if entries and not audio_fault(audio):
                return ok("episode", f"{where} can be read: {plural(len(entries), 'segment')}")
            problem = f"{where} lacks {METADATA_NAME}, an entry in it, or its first audio"
        except UnusableMetadata as error:
            problem = f"{where}: {error}"
    return warn("episode", f"none of the first {len(episodes)} is complete; {problem}", "check its files")


def _names(page: Page) -> list[str]:
    return [prefix.rstrip("/").rpartition("/")[2] for prefix in page.prefixes]
