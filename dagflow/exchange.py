"""Exchange: Request, Chunk, Usage and Embeddings, the small values that a model worker takes and gives.

They know nothing of who asks. A `Completion`, which has a life of its own, stands elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from dagflow.chat import last_user_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dagflow.record import Record


class Usage(Struct, frozen=True):
    """Token counts of one call, and what it cost.

    Attributes:
        input_tokens: tokens of the prompt, those from a cache included.
        output_tokens: tokens of the answer.
        cached_tokens: those of the input that the server had in a cache.
        cost: in the currency of the worker's `prices`; None without prices.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost: float | None = None

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def as_dict(self) -> dict[str, Any]:
        """Give the counts; `cached_tokens` and `cost` only where there are some."""
        given: dict[str, Any] = {"input_tokens": self.input_tokens, "output_tokens": self.output_tokens}
        if self.cached_tokens:
            given["cached_tokens"] = self.cached_tokens
        if self.cost is not None:
            given["cost"] = self.cost
        return given


class Chunk(Struct, frozen=True):
    """One piece of a streamed completion; the last one carries `finish_reason` and `usage`.

    Attributes:
        tool_calls: deltas in OpenAI's shape, each with the `index` of its call; their `arguments` are to be joined.
        reasoning: a piece of what the model says to itself before it answers.
        worker: the member that answers, where a pool chose one; set by the pool.
        shared: `cache` or `flight`, where the answer is made for another record; set by the stage.
    """

    text: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None
    model: str | None = None
    tool_calls: tuple[dict[str, Any], ...] = ()
    reasoning: str = ""
    worker: str | None = None
    shared: str | None = None


@dataclass(slots=True)
class Request:
    """What a worker is asked.

    Attributes:
        messages: a chat in OpenAI's shape (`role`, `content`), or None where `prompt` is set.
        prompt: bare text, or None.
        model: the model that the caller asked for, or None for the worker's own.
        parameters: sampling parameters in OpenAI's names (`temperature`, `max_tokens`, `tools`, ...).
        session: the record's session, for affinity.
        deadline: the point on the pipeline's clock, in seconds, when an answer becomes useless.
        metadata: names for logs and traces (`id`, `node`); never secrets.
        priority: the record's priority; higher is more important.
        timeout_s: how long whoever asks will wait at most, in seconds; None for ever.
        record: the record that is asked for, for guards that look at its fields; None outside a pipeline.
        asked_s: when a worker was asked last that is no pool, a point on the clock; None before.
    """

    messages: Sequence[Mapping[str, Any]] | None = None
    prompt: str | None = None
    model: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    session: str | None = None
    deadline: float | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    priority: float = 0
    timeout_s: float | None = None
    record: Record | None = field(default=None, compare=False, repr=False)
    asked_s: float | None = field(default=None, compare=False, repr=False)

    @property
    def text(self) -> str:
        """The prompt, or the text of the last user message."""
        return self.prompt if self.prompt is not None else last_user_text(self.messages or ())


class Embeddings(list[list[float]]):
    """Vectors, one for each text, with what they took.

    A worker may give a plain list as well; then nothing is known of the tokens.
    """

    def __init__(
        self, vectors: Iterable[list[float]] = (), usage: Usage | None = None, model: str | None = None
    ) -> None:
        super().__init__(vectors)
        self.usage = usage
        self.model = model
