"""A Hub repo in memory, with the methods of HubClient that commit_chunk calls, and records to commit to it.

It keeps every revision and refuses what the real Hub refuses: 412 when the parent is not the head, 400 for content that
is not stored or a deletion of an absent file. On request a call fails before or after its work, or an action runs right
before it.
"""

import hashlib
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace

from huggingface_hub.errors import HfHubHTTPError

from r2_hf_assets.hub.card.merge import CARD_PATH
from r2_hf_assets.hub.client import HubClient, Ref, RemoteFile
from r2_hf_assets.hub.ownership import OWNER_PATH, Claim
from r2_hf_assets.plan.chunks import Name
from r2_hf_assets.shards.names import index_path, path_in_repo, shard_names
from r2_hf_assets.shards.record import BuildRecord, ShardFile, Tally
from r2_hf_assets_tests.support.build_samples import NO_WAIT

Files = dict[str, RemoteFile]
# The content of a file that was put here without content.
_EMPTY = hashlib.sha256(b"").hexdigest()
# Content of every record that `built` returned: each repo stores it, as after an upload, until `lose`.
_BUILT: dict[str, bytes] = {}


def http_error(status: int, headers: dict[str, str] | None = None) -> HfHubHTTPError:
    """The error that huggingface_hub raises for a status."""
    response = SimpleNamespace(status_code=status, headers=headers or {}, request=None)
    return HfHubHTTPError(f"{status} Error\nfor url: https://hub", response=response)  # type: ignore[arg-type]


class FakeRepo(HubClient):
    """One dataset repo. `revisions` has every state, `tags` names of them, `calls` the number of calls a method, and
    `pointers` the paths of the LFS pointers in its commits."""

    repo_id = "me/speech"

    def __init__(self, files: Sequence[RemoteFile] = (), *, exists: bool = True) -> None:
        self.log, self.retry = None, NO_WAIT
        self.revisions: list[Files] = [{file.path: file for file in files}] if exists else []
        self.card_errors = ""
        self.tags: dict[str, str] = {}
        self.calls: Counter[str] = Counter()
        self.pointers: list[str] = []
        self._contents: dict[str, bytes] = {}
        self._lost: set[str] = set()
        self._before: defaultdict[str, deque[Callable[[], object]]] = defaultdict(deque)
        self._after: defaultdict[str, deque[Callable[[], object]]] = defaultdict(deque)
        self._lock = threading.RLock()

    def fail(
        self, call: str, *errors: int | Exception, headers: dict[str, str] | None = None, after: bool = False
    ) -> None:
        """Fail the next calls of this method with these errors, one each; `after`: when their work is done."""
        for error in errors:
            raised = http_error(error, headers) if isinstance(error, int) else error
            (self._after if after else self._before)[call].append(lambda raised=raised: _raise(raised))  # type: ignore[misc]

    def before(self, call: str, action: Callable[[], object]) -> None:
        """Run an action once, right before a call of this method; actions run in order, one a call."""
        self._before[call].append(action)

    def lose(self, record: BuildRecord) -> None:
        """Remove the content of these files from the content store."""
        self._lost |= {file.sha256 for file in record.all_files}

    @property
    def now(self) -> Files:
        return self.revisions[-1]

    @property
    def data(self) -> Files:
        """The files at the head, without the two that a plan's first commit adds."""
        return {path: file for path, file in self.now.items() if path not in (OWNER_PATH, CARD_PATH)}

    def claim(self, plan_id: str = "0" * 32) -> Claim:
        """Return the claim of a plan whose history names every file of every revision."""

        def known(chunks: Collection[Name]) -> Mapping[Name, frozenset[str]]:
            every = {file.sha256 or _EMPTY for files in self.revisions for file in files.values()}
            return dict.fromkeys(chunks, frozenset(every))

        return Claim(plan_id, known, lambda *_: True)

    def write(self, path: str, data: bytes) -> None:
        """Commit a file with content, as another writer."""
        file = remote(path, data)
        self._contents[file.sha256 or ""] = data
        self.put(file)

    def text(self, path: str) -> str:
        """Return the text of a file at the head."""
        return self._contents[self.now[path].sha256 or ""].decode()

    def put(self, *files: RemoteFile) -> None:
        """Commit files without content, as another writer."""
        with self._lock:
            self.revisions.append(self.now | {file.path: file for file in files})

    def head(self) -> str | None:
        with self._call("head"):
            return self._head()

    def create_repo(self) -> None:
        with self._call("create_repo"):
            if not self.revisions:
                self.revisions.append({})

    def files(self, paths: Sequence[str], revision: str) -> Files:
        with self._call("files"):
            files = self._at(revision)
            return {path: files[path] for path in paths if path in files}

    def list_files(self, folder: str, revision: str) -> Files:
        with self._call("list_files"):
            return {path: file for path, file in self._at(revision).items() if path.startswith(f"{folder}/")}

    def read(self, path: str, revision: str, first: int = 0) -> bytes | None:
        with self._call("read"):
            file = self._at(revision).get(path)
            return self._contents.get(file.sha256 or "", b"") if file else None

    def commit(
        self,
        files: Sequence[RemoteFile],
        deleted: Sequence[str],
        parent: str,
        message: str,
        contents: Mapping[str, bytes] | None = None,
    ) -> tuple[str, str]:
        with self._call("commit"), self._lock:
            if parent != self._head():
                raise http_error(412)
            if {*deleted} - {*self.now} or not all(self._stores(file) for file in files):
                raise http_error(400)
            remaining = {path: file for path, file in self.now.items() if path not in deleted}
            small = {path: remote(path, data) for path, data in (contents or {}).items()}
            self._contents |= {small[path].sha256 or "": data for path, data in (contents or {}).items()}
            pointers = {file.path: remote(file.path, _BUILT[file.sha256 or ""]) for file in files}
            self.pointers += pointers
            self.revisions.append(remaining | pointers | small)
            oid = self._head()
            assert oid is not None and message
            return oid, self.commit_url(oid)

    def refs(self) -> tuple[Ref, ...]:
        with self._call("refs"):
            return tuple(Ref("tag", name, revision) for name, revision in self.tags.items())

    def has_content(self, files: Sequence[RemoteFile]) -> bool:
        with self._call("has_content"):
            return all(self._stores(file) for file in files)

    def validate_card(self, card: bytes) -> str:
        return self.card_errors

    def commit_url(self, oid: str) -> str:
        return f"https://hub/datasets/{self.repo_id}/commit/{oid}"

    def _stores(self, file: RemoteFile) -> bool:
        data = None if file.sha256 in self._lost else _BUILT.get(file.sha256 or "")
        return data is not None and len(data) == file.size

    def _at(self, revision: str) -> Files:
        return self.revisions[int(revision.removeprefix("oid-"))]

    def _head(self) -> str | None:
        return f"oid-{len(self.revisions) - 1}" if self.revisions else None

    @contextmanager
    def _call(self, name: str) -> Iterator[None]:
        with self._lock:
            self.calls[name] += 1
            action = self._before[name].popleft() if self._before[name] else None
        if action:
            action()
        yield
        with self._lock:
            action = self._after[name].popleft() if self._after[name] else None
        if action:
            action()


def _raise(error: Exception) -> None:
    raise error


def built(*contents: bytes, index: bytes | None = None, number: int = 7, language: str = "en") -> BuildRecord:
    """Return the record of a chunk with these parts and this index, whose content is stored."""
    paths = [path_in_repo(language, name) for name in shard_names(number, len(contents))]
    files = tuple(_stored(path, 1, data) for path, data in zip(paths, contents, strict=True))
    stored = None if index is None else _stored(index_path(language, number), len(files), index)
    return BuildRecord(language, number, f"digest-{number}", files, stored, Tally(rows=len(files)))


def _stored(path: str, rows: int, data: bytes) -> ShardFile:
    sha256 = hashlib.sha256(data).hexdigest()
    _BUILT[sha256] = data
    return ShardFile(path, rows, len(data), sha256)


def remote(path: str, data: bytes) -> RemoteFile:
    """Return a file on the Hub with this content."""
    return RemoteFile(path, len(data), hashlib.sha256(data).hexdigest())
