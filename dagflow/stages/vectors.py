"""Vectors: passages by their meaning, as a worker's embeddings tell it.

Vectors are kept in a SQLite file beside the index, by the text that they are of and the worker that made them, so that
none is paid for twice: not after a change to one document, nor after a start that was interrupted.
"""

from __future__ import annotations

from contextlib import closing
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from anyio import to_thread

from dagflow.errors import PluginError, WorkerError
from dagflow.store.database import Kind, open_database
from dagflow.store.writer import commit_alone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path
    from sqlite3 import Connection

    from dagflow.inference.guarded import GuardedWorker

VECTORS: Final = Kind(
    application_id=0x64666378,
    version=1,
    schema="""
        CREATE TABLE vectors (
            worker BLOB NOT NULL, key BLOB NOT NULL, vector BLOB NOT NULL, PRIMARY KEY (worker, key)
        )
    """,
)

BATCH: Final = 64
"""How many texts one call embeds; what a call has made is kept before the next one."""


class VectorIndex:
    """Vectors of passages, of length 1; a search looks at each.

    Args:
        passages: with `text` and `source`.
        vectors: one for each passage.
    """

    def __init__(self, passages: Sequence[dict[str, Any]], vectors: Sequence[Sequence[float]]) -> None:
        self._passages = passages
        self._matrix = _unit(_numpy().asarray(vectors, dtype="float32"))

    def search(self, vector: Sequence[float], limit: int) -> list[dict[str, Any]]:
        """Find the passages nearest to a vector by the cosine, which is their `score`; best first.

        Raises:
            WorkerError: the vector has another length than those of the passages.
        """
        numpy = _numpy()
        wanted = _unit(numpy.asarray([vector], dtype="float32"))[0]
        if wanted.shape[0] != self._matrix.shape[1]:
            lengths = f"{wanted.shape[0]} numbers, but those of the passages have {self._matrix.shape[1]}"
            raise WorkerError("protocol", f"the vector of the question has {lengths}")
        scores = self._matrix @ wanted
        limit = min(limit, len(scores))
        best = numpy.argpartition(-scores, limit - 1)[:limit]
        best = best[numpy.argsort(-scores[best], kind="stable")]
        return [{**self._passages[index], "score": round(float(scores[index]), 4)} for index in best]


async def build_vectors(path: Path, passages: Sequence[dict[str, Any]], worker: GuardedWorker) -> VectorIndex:
    """Give the vectors of passages: those that are kept, and the others from the worker.

    Raises:
        PluginError: numpy is not installed.
        StoreError: the file can't be used.
        WorkerError: the worker can't embed.
    """
    _numpy()
    name = blake2b(worker.identity.encode(), digest_size=16).digest()
    keys = [blake2b(passage["text"].encode("utf-8", "surrogatepass"), digest_size=16).digest() for passage in passages]
    kept = await to_thread.run_sync(_read, path, name)
    missing = list(dict.fromkeys(index for index, key in enumerate(keys) if key not in kept))
    for start in range(0, len(missing), BATCH):
        part = missing[start : start + BATCH]
        vectors = await worker.embed([passages[index]["text"] for index in part])
        if len(vectors) != len(part):
            raise WorkerError("protocol", f"it gave {len(vectors)} vectors for {len(part)} texts")
        made = {keys[index]: _packed(vector) for index, vector in zip(part, vectors, strict=True)}
        kept |= made
        _check({key: kept[key] for key in keys if key in kept}, path)  # what is kept stays
        await to_thread.run_sync(_add, path, [(name, key, vector) for key, vector in made.items()])
    await to_thread.run_sync(_prune, path, name, set(kept) - set(keys))
    return VectorIndex(passages, [_unpacked(kept[key]) for key in keys])


def fuse(rankings: Iterable[list[dict[str, Any]]], limit: int) -> list[dict[str, Any]]:
    """Merge rankings of passages into one: each counts by its place, whatever the scores mean.

    Reciprocal rank fusion with the constant 60 (Cormack, Clarke and Buettcher, 2009).
    """
    scores: dict[tuple[str, str], float] = {}
    for ranking in rankings:
        for place, passage in enumerate(ranking, 1):
            key = passage["source"], passage["text"]
            scores[key] = scores.get(key, 0.0) + 1 / (60 + place)
    best = sorted(scores, key=scores.__getitem__, reverse=True)[:limit]
    return [{"text": text, "source": source, "score": round(scores[source, text], 4)} for source, text in best]


def _check(vectors: dict[bytes, bytes], path: Path) -> None:
    lengths = sorted({len(_unpacked(vector)) for vector in vectors.values()})
    if lengths[0] == 0 or len(lengths) > 1:
        told = " and ".join(map(str, lengths))
        raise WorkerError("protocol", f"its vectors have {told} numbers; if its model is another now, delete `{path}`")


def _unit(matrix: Any) -> Any:
    lengths = _numpy().linalg.norm(matrix, axis=1, keepdims=True)
    return matrix / _numpy().maximum(lengths, 1e-12)


def _packed(vector: Sequence[float]) -> bytes:
    numpy = _numpy()
    with numpy.errstate(over="ignore"):
        packed = numpy.asarray(vector, dtype="<f4")
    if not numpy.isfinite(packed).all():
        raise WorkerError("protocol", "a vector has numbers that are infinite, or none")
    return packed.tobytes()


def _unpacked(packed: bytes) -> Any:
    return _numpy().frombuffer(packed, dtype="<f4")


def _read(path: Path, worker: bytes) -> dict[bytes, bytes]:
    with closing(open_database(path, VECTORS, create=True)) as connection:
        return dict(connection.execute("SELECT key, vector FROM vectors WHERE worker = ?", (worker,)))


def _add(path: Path, rows: list[tuple[bytes, bytes, bytes]]) -> None:
    _change(path, lambda connection: connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows))


def _prune(path: Path, worker: bytes, keys: set[bytes]) -> None:
    if keys:
        rows = [(worker, key) for key in keys]
        _change(path, lambda db: db.executemany("DELETE FROM vectors WHERE worker = ? AND key = ?", rows))


def _change(path: Path, work: Callable[[Connection], Any]) -> None:
    with closing(open_database(path, VECTORS, create=True)) as connection:
        commit_alone(connection, work)


def _numpy() -> Any:
    try:
        import numpy
    except ModuleNotFoundError:
        remedy = "install it with `pip install 'dagflow-engine[vectors]'`, or set `mode = \"text\"`"
        raise PluginError(f"searching by vectors needs numpy; {remedy}") from None
    return numpy
