"""The sizes of a benchmark: default, full and quick."""

from dataclasses import dataclass, replace

# Folders of the main bucket, by their share of the episodes: two languages, one of them under two names. In chunks of a
# fifth of the episodes the first language makes four and the second one.
_SHARES = {"en": 0.5, "en-US": 0.3, "de": 0.2}


@dataclass(frozen=True)
class Sizes:
    """The sizes of the rows.

    Attributes:
        episodes: of the main bucket.
        segments: of an episode.
        main_chunks: of the main bucket, where it is not built as chunks of the default size.
        seconds: shortest and longest segment; a second is 6 kB.
        same_chunks, same_chunk_mb: chunks of one size in a bucket of their own.
        big_chunk: size of the large chunk, in chunks of that size.
        memory_mb: chunk sizes of the memory row, ascending.
        folders: episode folders of the scan.
        partitions: planned chunks of the due row, of which all but `DUE` are materialized.
        chunks: small chunks of one run.
        latency_objects: objects fetched through the slow line.
        heads: HEADs through the slow line.
        dedup_episodes, dedup_variants: episodes of the chunk that is built again, and the number of writer options.
        reader_files, reader_file_mb, reader_rows, reader_variants: files that `datasets` streams, rows read for rows/s,
            and the number of writer options.
        choosing_rows: rows of a dataset, of which a hundredth is chosen by the index.
    """

    episodes: int = 200
    segments: int = 100
    main_chunks: int = 5
    seconds: tuple[float, float] = (4.0, 22.0)
    same_chunks: int = 5
    same_chunk_mb: int = 375
    big_chunk: int = 4
    memory_mb: tuple[int, ...] = (1000, 3000, 6000)
    folders: int = 100_000
    partitions: int = 20_000
    chunks: int = 20
    latency_objects: int = 30_000
    heads: int = 100_000
    dedup_episodes: int = 40
    dedup_variants: int = 7
    reader_files: int = 12
    reader_file_mb: int = 270
    reader_rows: int = 6000
    reader_variants: int = 6
    choosing_rows: int = 200_000

    def folders_of(self, episodes: int) -> dict[str, int]:
        """Return episodes by folder, at least one in each."""
        return {folder: max(1, round(share * episodes)) for folder, share in _SHARES.items()}

    @property
    def chunk_episodes(self) -> int:
        """Episodes a chunk for `main_chunks` of the main bucket."""
        return max(1, self.episodes // self.main_chunks)

    @property
    def episode_mb(self) -> float:
        return self.segments * sum(self.seconds) / 2 * 0.006

    @property
    def same_chunk_episodes(self) -> int:
        return max(1, round(self.same_chunk_mb / self.episode_mb))

    @property
    def big_chunk_episodes(self) -> int:
        return self.big_chunk * self.same_chunk_episodes

    def with_objects(self, objects: int) -> "Sizes":
        return replace(self, episodes=max(3, objects // self.segments))


DUE = 10
DEFAULT = Sizes()
FULL = Sizes(folders=1_000_000)
QUICK = Sizes(
    episodes=4,
    segments=50,
    main_chunks=2,
    seconds=(1.0, 3.0),
    same_chunks=3,
    same_chunk_mb=1,
    big_chunk=2,
    memory_mb=(1, 3),
    folders=300,
    partitions=200,
    chunks=4,
    latency_objects=200,
    heads=300,
    dedup_episodes=2,
    dedup_variants=2,
    reader_files=2,
    reader_file_mb=6,
    reader_rows=10,
    reader_variants=1,
    choosing_rows=2000,
)
