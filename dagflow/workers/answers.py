"""What the built-in workers share: answers in words, of which each counts as one token.

No tokenizer ships with dagflow, so that the counts in `usage` are of words between white space.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dagflow.chat import text_of
from dagflow.completion import Completion
from dagflow.errors import WorkerError
from dagflow.exchange import Chunk, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagflow.exchange import Request

_WORD: Final = re.compile(r"\s*\S+|\s+")
_LIMITS: Final = ("max_completion_tokens", "max_tokens")  # the newer name first


def build_answer(text: str, request: Request, model: str) -> Completion:
    """Build the completion of a text, cut off after the words that the request's parameters allow.

    Raises:
        WorkerError: of kind `refused`, where the limit is no whole number above 0.
    """
    limit = _limit(request)
    words = len(text.split())
    cut = limit is not None and words > limit
    if cut:
        text, words = "".join(split_words(text)[:limit]), limit
    usage = Usage(len(whole_text(request).split()), words)
    return Completion(text, "length" if cut else "stop", request.model or model, usage)


def split_words(text: str) -> list[str]:
    """Split a text into words, each with the white space before it; joined they are the text again."""
    return _WORD.findall(text)


def chunks_of(completion: Completion) -> Iterator[Chunk]:
    """Give a completion in chunks of one word each; the last one carries the reason and the usage."""
    *first, last = split_words(completion.text) or [""]
    for word in first:
        yield Chunk(word, model=completion.model)
    yield Chunk(last, completion.finish_reason, completion.usage, completion.model)


def whole_text(request: Request) -> str:
    """The prompt, or the texts of all messages, with blank lines between them."""
    if request.prompt is not None:
        return request.prompt
    return "\n\n".join(text_of(message) for message in request.messages or ())


def _limit(request: Request) -> int | None:
    for name in _LIMITS:
        limit = request.parameters.get(name)
        if limit is not None:
            if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
                raise WorkerError("refused", f"`{name}` should be a whole number above 0, but is `{limit}`")
            return limit
    return None
