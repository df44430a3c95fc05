"""`retrieve` by vectors: what is embedded, how often, and what is found."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from dagflow.errors import PluginError, WorkerError
from dagflow.plugin import ModelWorker
from dagflow.record import Record
from dagflow.stages.retrieve import Retrieve
from dagflow.stages.vectors import BATCH, VectorIndex, fuse
from dagflow.testing import Sample, check_plugin
from dagflow.testing.alone import build_context, build_plugin, opened

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio
TOPICS = ("car automobile vehicle drive", "bread baker oven flour", "sea ship sail harbour")


class Embedder(ModelWorker):
    """Embeds by topic: words of one topic mean the same."""

    def __init__(self, fails_after: int | None = None) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.fails_after = fails_after

    async def infer(self, request: Any) -> Any:
        """Never asked."""
        raise WorkerError("refused", "embeds only")

    async def embed(self, texts: Any) -> list[list[float]]:
        """Count the words of each topic."""
        if self.fails_after is not None and len(self.texts) >= self.fails_after:
            raise WorkerError("unavailable", "down")
        self.texts += texts
        return [[float(sum(word in text.lower() for word in topic.split())) for topic in TOPICS] for text in texts]


@pytest.fixture
def handbook(tmp_path: Path) -> Path:
    """Three documents, one for each topic."""
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.md").write_text("# Roads\n\nAn automobile needs fuel.\n")
    (folder / "b.md").write_text("# Kitchen\n\nA baker rises early. The car waits outside, zebra.\n")
    (folder / "c.md").write_text("# Coast\n\nA ship needs a harbour.\n")
    return folder


async def found(documents: Path, question: str, worker: ModelWorker, **options: Any) -> list[dict[str, Any]]:
    """What is found for a question."""
    plugin = build_plugin(Retrieve, documents.parent, documents="docs", index="index.db", worker="e", **options)
    async with opened(plugin, build_context(workers={"e": worker})) as stage:
        return (await stage.process(Record({"input": question})))["context"]


async def test_meaning_is_found_without_a_common_word(handbook: Path) -> None:
    """The best first, with the cosine as its score."""
    best, *_ = context = await found(handbook, "vehicle to drive", Embedder(), mode="vector", top_k=2)
    assert best == {"text": "# Roads\n\nAn automobile needs fuel.", "source": "a.md#Roads", "score": 1.0}
    assert len(context) == 2
    assert context[1]["score"] < 1


async def test_hybrid_prefers_what_both_find(handbook: Path) -> None:
    """A word that only one document has counts as well as the meaning."""
    context = await found(handbook, "zebra oven", Embedder(), mode="hybrid", top_k=2)
    assert context[0]["source"] == "b.md#Kitchen"
    assert context[0]["score"] == round(2 / 61, 4)


async def test_nothing_is_embedded_twice(handbook: Path) -> None:
    """Not at the next start, and after a change only what changed; another worker has its own."""
    worker = Embedder()
    await found(handbook, "x", worker, mode="vector")
    assert len(worker.texts) == 3 + 1
    await found(handbook, "x", worker, mode="vector")
    assert len(worker.texts) == 4 + 1
    (handbook / "c.md").write_text("# Coast\n\nA ship may sail.\n")
    await found(handbook, "x", worker, mode="vector")
    assert worker.texts[5:] == ["# Coast\n\nA ship may sail.", "x"]


async def test_an_interrupted_start_goes_on_where_it_was(handbook: Path) -> None:
    """What a call has made is kept before the next one."""
    for number in range(BATCH + 10):
        (handbook / f"x{number}.md").write_text(f"Passage number {number} of the sea.\n")
    with pytest.raises(WorkerError, match="down"):
        await found(handbook, "x", Embedder(fails_after=BATCH), mode="vector")
    worker = Embedder()
    await found(handbook, "x", worker, mode="vector")
    assert len(worker.texts) == 3 + 10 + 1


async def test_vectors_of_another_length(handbook: Path) -> None:
    """A worker that changed its model is told apart from one that finds nothing."""
    index = VectorIndex([{"text": "a", "source": "a"}], [[1.0, 0.0]])
    with pytest.raises(WorkerError, match="the vector of the question has 3 numbers, but those of the passages have 2"):
        index.search([1.0, 0.0, 0.0], 1)


async def test_a_model_that_was_exchanged_at_the_next_start(handbook: Path) -> None:
    """It is told with the file that keeps the old vectors, and what does not fit is not kept."""
    await found(handbook, "x", Embedder(), mode="vector")
    (handbook / "d.md").write_text("New.\n")
    other = Embedder()
    other.embed = lambda texts: _given([[1.0, 0.0]] * len(texts))  # type: ignore[method-assign]
    with pytest.raises(WorkerError, match=r"have 2 and 3 numbers; .* delete `.*index\.vectors\.db`"):
        await found(handbook, "x", other, mode="vector")
    assert await found(handbook, "x", Embedder(), mode="vector")


@pytest.mark.parametrize("vector", [[float("nan")], [1e300], []])
async def test_vectors_that_are_none(vector: list[float], handbook: Path) -> None:
    """They are not kept, where they would stay."""
    odd = Embedder()
    odd.embed = lambda texts: _given([vector] * len(texts))  # type: ignore[method-assign]
    with pytest.raises(WorkerError) as caught:
        await found(handbook, "x", odd, mode="vector")
    assert caught.value.kind == "protocol"
    assert await found(handbook, "x", Embedder(), mode="vector")


async def _given(vectors: list[list[float]]) -> list[list[float]]:
    return vectors


async def test_ranks_are_merged() -> None:
    """A passage in both rankings comes before the first of either."""
    one, two, three = ({"text": name, "source": name, "score": 1.0} for name in "abc")
    assert [passage["text"] for passage in fuse([[one, two], [three, two]], 3)] == ["b", "a", "c"]
    assert len(fuse([[one, two], [three, two]], 1)) == 1


@pytest.mark.parametrize(
    ("options", "said"), [({"mode": "hybrid"}, "needs a `worker`"), ({"worker": "e"}, "no `worker`")]
)
async def test_vectors_and_a_worker_go_together(options: dict[str, Any], said: str, handbook: Path) -> None:
    """One without the other does nothing."""
    with pytest.raises(ValueError, match=said):
        build_plugin(Retrieve, handbook.parent, documents="docs", **options)


async def test_without_numpy_the_start_says_what_to_install(handbook: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(PluginError, match=r"dagflow-engine\[vectors\]"):
        await found(handbook, "x", Embedder(), mode="vector")


def test_it_keeps_the_rules() -> None:
    """With vectors as without."""
    options = {"documents": "docs", "index": "index.db", "mode": "hybrid", "worker": "e"}
    files = {"docs/a.md": "# Edges\n\nBack-pressure slows a sender down.\n"}
    sample = Sample(Retrieve, options, files, workers={"e": Embedder()})
    assert [f"{f.rule.id}: {f.breach}" for f in check_plugin(sample) if f.breach] == []
