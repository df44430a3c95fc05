"""Stage `retrieve`: finds the passages of a folder of documents that fit a record's question.

The passages are indexed when the pipeline starts, and again only when a document has changed.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from anyio import to_thread
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from dagflow.errors import InvalidField, PluginError
from dagflow.expressions import Template
from dagflow.options import FieldName, FilePath, Options, WorkerName
from dagflow.plugin import Stage
from dagflow.stages.documents import Document, find_documents, fingerprint, unreadable
from dagflow.stages.passage_index import FORMAT, PassageIndex, build_index, is_current, is_foreign
from dagflow.stages.passages import split_passages
from dagflow.stages.vectors import VectorIndex, build_vectors, fuse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagflow.plugin import Context
    from dagflow.record import Record
    from dagflow.stages.passages import Passage

_DEPTH: Final = 50  # of each ranking that a hybrid search merges


class Retrieve(Stage):
    """Writes `context`, or `output`: the best passages, best first, each with `text`, `source` and `score`.

    Where nothing fits, it is empty.
    """

    incidental = frozenset({"index"})

    class Options(Options):
        documents: FilePath = Field(
            description="a folder, searched with the folders in it for `.md`, `.rst` and `.txt`, or a single file"
        )
        top_k: int = Field(3, ge=1, description="the most passages that a record gets")
        passage_chars: int = Field(800, ge=50, description="about how long a passage is, in characters")
        query: Template | None = Field(None, description="the template of the question; by default the field `input`")
        output: FieldName = Field("context", description="the field that the passages are written to")
        mode: Literal["text", "vector", "hybrid"] = Field(
            "text", description="search for words, for meaning by the vectors of a worker, or for both"
        )
        worker: WorkerName | None = Field(None, description="the table under `[workers]` that embeds, for vectors")
        index: FilePath | None = Field(
            None, description="the file that keeps the index; by default one under `$XDG_CACHE_HOME/dagflow`"
        )

        @model_validator(mode="after")
        def _has_worker(self) -> Retrieve.Options:
            if (self.mode == "text") is not (self.worker is None):
                found = "needs no `worker`" if self.worker else "needs a `worker` that embeds"
                raise PydanticCustomError(
                    "embedding_worker", '`mode = "{mode}"` {found}', {"mode": self.mode, "found": found}
                )
            return self

    _index: PassageIndex | None = None
    _vectors: VectorIndex | None = None

    def reads(self) -> set[str]:
        return {"input"} if self.options.query is None else set(self.options.query.required)

    def writes(self) -> set[str]:
        return {self.options.output}

    async def open(self, context: Context) -> None:
        await super().open(context)
        self._index = await to_thread.run_sync(self._prepare, abandon_on_cancel=True)
        if self.options.worker is not None:
            self._worker: Any = context.workers[self.options.worker]
            path = self._index_path().with_suffix(".vectors.db")
            self._vectors = await build_vectors(path, self._index.passages(), self._worker)
            self.process = self._process_with_vectors  # type: ignore[method-assign]

    async def _process_with_vectors(self, record: Record) -> Record:
        question, top_k = self._question(record), self.options.top_k
        [vector] = await self._worker.embed([question])
        if self.options.mode == "vector":
            record[self.options.output] = await to_thread.run_sync(self._vectors.search, vector, top_k)
        else:
            depth = max(_DEPTH, top_k)
            rankings = await to_thread.run_sync(
                lambda: [self._vectors.search(vector, depth), self._index.search(question, depth)]
            )
            record[self.options.output] = fuse(rankings, top_k)
        return record

    def process(self, record: Record) -> Record:
        record[self.options.output] = self._index.search(self._question(record), self.options.top_k)
        return record

    async def close(self) -> None:
        if self._index is not None:
            self._index.close()

    def _question(self, record: Record) -> str:
        if self.options.query is not None:
            return self.options.query.render(record)
        question = record.get("input")
        if not isinstance(question, str):
            raise InvalidField("input", "a text", question)
        return question

    def _prepare(self) -> PassageIndex:
        documents = find_documents(self.options.documents)
        path = self._index_path()
        expected = fingerprint(documents, FORMAT, self.options.passage_chars)
        if not is_current(path, expected):
            build_index(path, expected, self._passages(documents))
        index = PassageIndex(path)
        if index.count() == 0:
            index.close()
            raise PluginError(f"the documents under `{self.options.documents}` have no text")
        return index

    def _index_path(self) -> Path:
        path = self.options.index
        if path is None:
            return _default_path(self.options.documents, self.options.passage_chars)
        if is_foreign(path):
            raise PluginError(f"`{path}` is no index of passages, and would be replaced; set `index` to another path")
        return path

    def _passages(self, documents: list[Document]) -> Iterator[Passage]:
        for document in documents:
            yield from split_passages(self._read(document), document.name, self.options.passage_chars)

    def _read(self, document: Document) -> str:
        try:
            content = document.path.read_bytes()
        except OSError as error:
            raise unreadable(error) from error
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError:
            self.context.logger.warning("document is not UTF-8, in part unreadable", document=document.name)
            return content.decode("utf-8-sig", errors="replace")


def _default_path(documents: Path, passage_chars: int) -> Path:
    name = hashlib.sha256(repr((os.path.realpath(documents), passage_chars)).encode()).hexdigest()[:32]
    return _cache() / "dagflow" / f"passages-{name}.db"


def _cache() -> Path:
    # The XDG base directory specification: a path that is not absolute is to be ignored.
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        return given if given.is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        raise PluginError("there is no home folder to keep the index in; set `index` to a path") from None
