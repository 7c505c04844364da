"""Write the indexes of chunks that were committed before there were indexes, from their files on the Hub.

All columns but the audio are read, by ranges. What the files do not tell is null: start, end, size and hash of the
audio, and the ETags of the metadata. Why an episode has no row is not known either. Many indexes go into one commit.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from r2_hf_assets.background import map_in_order
from r2_hf_assets.bucket.segments import Reject, Segment
from r2_hf_assets.errors import ShardError
from r2_hf_assets.hub.build import open_upload
from r2_hf_assets.hub.client import HubClient, RemoteFile
from r2_hf_assets.hub.commit import commit_indexes
from r2_hf_assets.hub.ownership import Claim
from r2_hf_assets.hub.reads import HubReader, Inventory
from r2_hf_assets.plan.chunks import ChunkManifest, ChunkRef
from r2_hf_assets.plan.store import open_plan
from r2_hf_assets.plural import plural
from r2_hf_assets.reconcile.report import Recovered
from r2_hf_assets.reconcile.verify import PARALLEL_CHUNKS, shard_file
from r2_hf_assets.settings import Settings
from r2_hf_assets.shards.index import IndexHeader, IndexWriter
from r2_hf_assets.shards.names import index_path, parts_in_order
from r2_hf_assets.shards.observe import Observer
from r2_hf_assets.shards.record import ShardFile

_COLUMNS = ["audio.path", "duration_seconds", "dnsmos", "text", "speaker_id", "language"]
_CHUNKS_PER_COMMIT = 50
_NO_ROW = "no_row"


def write_indexes(
    settings: Settings, chunks: Sequence[ChunkRef], hub: Inventory, claim: Claim, log: Callable[[str], None]
) -> Iterator[list[Recovered]]:
    """Write the indexes of these chunks; yield the chunks of each commit. One that can't be indexed is logged."""
    assert hub.revision is not None
    repo = HubClient(settings.hub, log)
    plan, reader, on_hub = open_plan(settings.plan, settings.r2), HubReader(repo, hub.revision), hub.by_chunk()

    def read(ref: ChunkRef) -> tuple[ChunkRef, IndexHeader, bytes] | None:
        chunk = plan.find(*ref.name)
        assert chunk is not None, "manifests are never deleted"
        try:
            files = {file.path: file for file in on_hub[ref.name]}
            return ref, *_make_index(ref.digest, chunk, files, reader, claim.plan_id)
        except ShardError as damage:
            log(f"no index of {ref.language} chunk {ref.number}: {damage}")
            return None

    for first in range(0, len(chunks), _CHUNKS_PER_COMMIT):
        group = chunks[first : first + _CHUNKS_PER_COMMIT]
        uploaded: dict[RemoteFile, IndexHeader] = {}
        refs: dict[RemoteFile, ChunkRef] = {}
        with open_upload(repo, replace(settings.shards, keep=False), "indexes", first) as upload:
            for ref, header, content in filter(None, map_in_order(read, group, PARALLEL_CHUNKS, "indexes")):
                file = upload.begin()
                file.write(content)
                stored = file.finish()
                remote = RemoteFile(index_path(*ref.name), stored.size, stored.sha256)
                uploaded[remote], refs[remote] = header, ref
        committed = repo.call_with_retry("commit to", partial(commit_indexes, repo, uploaded, claim))
        done = [
            Recovered(refs[file], (*one.files, shard_file(file.path, file, 0)), "the rows of its files", one.stats)
            for file, one in uploaded.items()
            if file in committed
        ]
        log(f"wrote {plural(len(done), 'index', 'indexes')}; {first + len(group)} of {len(chunks)} chunks read")
        yield done


def _make_index(
    digest: str, chunk: ChunkManifest, files: Mapping[str, RemoteFile], reader: HubReader, plan_id: str
) -> tuple[IndexHeader, bytes]:
    """Return the index of a chunk. Raises ShardError when its files are damaged, or not those of the chunk."""
    if (paths := parts_in_order(*chunk.name, files)) is None:
        raise ShardError("its parts are not 00 to the last")
    writer, observer, parts = IndexWriter(*chunk.name), Observer(), list[ShardFile]()
    without_row = dict.fromkeys(chunk.episodes)
    episodes = {chunk.audio_prefix(episode): episode for episode in chunk.episodes}
    for number, path in enumerate(paths):
        rows = 0
        for group, columns in enumerate(reader.row_groups(files[path], _COLUMNS)):
            for segment in map(partial(_segment, episodes), *columns):
                if segment is None:
                    raise ShardError(f"{path} has a row of no episode of this chunk")
                writer.add_row(segment, None)
                without_row.pop(segment.episode, None)
            unknown = [None] * len(columns[0])
            writer.place(number, group, unknown)
            observer.add_values(*columns[:-1])
            rows += len(unknown)
        parts.append(shard_file(path, files[path], rows))
    for episode in without_row:
        writer.add_reject(Reject(episode, None, chunk.metadata_key(episode), _NO_ROW, "indexed from the files"))
    header = IndexHeader(
        plan_id,
        *chunk.name,
        chunk.prefix,
        digest,
        tuple((episode, None) for episode in chunk.episodes),
        tuple(parts),
        tuple(amendment.number for amendment in chunk.amendments),
        stats=observer.stats(),
    )
    return header, writer.finish(header)


def _segment(
    episodes: dict[str, str],
    key: str | None,
    duration: float | None,
    dnsmos: float | None,
    text: str | None,
    speaker: str | None,
    language: str | None,
) -> Segment | None:
    """Return a row as a segment; None for a key of no episode of the chunk."""
    prefix, _, end = (key or "").rpartition("_")
    episode, digits = episodes.get(f"{prefix}_"), end.partition(".")[0]
    if key is None or episode is None or not digits.isdecimal():
        return None
    number = int(digits)
    return Segment(episode, number, key, text, speaker, None, None, duration, dnsmos, language or "", False, False)
