"""Worker `extractive`: answers with sentences of the prompt itself.

No model is behind it: it takes those sentences of the context that share the most telling words
with the question, and says from which passage each comes. So it never makes anything up, and the
same prompt always gets the same answer.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pydantic import Field

from dagflow.options import Options
from dagflow.plugin import ModelWorker
from dagflow.words import stems
from dagflow.workers.answers import build_answer, chunks_of, whole_text
from dagflow.workers.prose import read_sentences
from dagflow.workers.question import Question, read_question

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dagflow.completion import Completion
    from dagflow.exchange import Chunk, Request

NO_ANSWER: Final = "Nothing in the context answers this question."

_LEAST_WORDS: Final = 3  # of a sentence; shorter ones are labels
_HEADING_SHARE: Final = 0.4  # what a word is worth that only the heading above has
_SUBJECT_SHARE: Final = 0.25  # what a word is worth on top where the sentence begins with it, as definitions do
_REPEAT_SHARE: Final = 0.4  # what a word is worth that a chosen sentence has already
_RANK_PENALTY: Final = 0.08  # for each passage that stands before: the retriever thought it better
_FAIR_WORDS: Final = 40  # longer sentences match more words by their length alone
_LEAST_SHARE: Final = 0.35  # of the best score; what is below it is beside the point


class Extractive(ModelWorker):
    """Answers with the sentences of the context that fit the question best, each with its `[1]`.

    The context is what stands before the question, in passages headed `[1]`, `[2]`, ... or as one
    text; the question begins with `Question:` or is the last paragraph. `max_tokens` is honoured,
    with finish reason `length`; a token is a word. Makes no embeddings.
    """

    class Options(Options):
        sentences: int = Field(2, ge=1, description="the most sentences of an answer")

    async def infer(self, request: Request) -> Completion:
        text = answer(read_question(whole_text(request)), self.options.sentences)
        return build_answer(text, request, "extractive")

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        for chunk in chunks_of(await self.infer(request)):
            yield chunk


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A sentence that may be part of an answer; `rank` counts passages from 0."""

    text: str
    marker: str
    rank: int
    words: frozenset[str]
    subject: str
    heading: frozenset[str]

    def score(self, weights: dict[str, float], covered: frozenset[str]) -> float:
        """Add up the weights of the question's words in it; `covered` are those already answered."""
        total = 0.0
        for word, weight in weights.items():
            if word in self.words:
                total += weight * (_REPEAT_SHARE if word in covered else 1)
                total += weight * _SUBJECT_SHARE * (word == self.subject)
            elif word in self.heading:
                total += weight * _HEADING_SHARE
        length = max(1.0, len(self.text.split()) / _FAIR_WORDS)
        return total / length / (1 + _RANK_PENALTY * self.rank)


def answer(question: Question, sentences: int) -> str:
    """Put together at most so many sentences of the context, in their order there."""
    candidates = _candidates(question)
    chosen = _choose(candidates, _weigh(set(stems(question.text)), candidates), sentences)
    parts = []
    for position, candidate in enumerate(chosen):
        following = chosen[position + 1] if position + 1 < len(chosen) else None
        cites = candidate.marker and (following is None or following.marker != candidate.marker)
        parts.append(f"{candidate.text} {candidate.marker}" if cites else candidate.text)
    return " ".join(parts) or NO_ANSWER


def _candidates(question: Question) -> list[_Candidate]:
    found: dict[str, _Candidate] = {}
    for rank, context in enumerate(question.contexts):
        for text, heading in read_sentences(context.text):
            # What ends with a colon announces something that is not in the answer.
            if len(text.split()) >= _LEAST_WORDS and not text.endswith(":"):
                words = stems(text) or [""]
                above = frozenset(stems(heading))
                found.setdefault(text, _Candidate(text, context.marker, rank, frozenset(words), words[0], above))
    return list(found.values())


def _weigh(question: set[str], candidates: list[_Candidate]) -> dict[str, float]:
    """Give each word of the question its inverse document frequency among the sentences."""
    frequency = Counter(word for candidate in candidates for word in candidate.words & question)
    return {word: math.log(1 + len(candidates) / (frequency[word] or 1)) for word in sorted(question)}


def _choose(candidates: list[_Candidate], weights: dict[str, float], limit: int) -> list[_Candidate]:
    """Choose the best, then again and again the best of what is left, as long as it adds enough."""
    chosen: set[int] = set()
    covered: frozenset[str] = frozenset()
    least = 0.0
    while len(chosen) < limit:
        scores = {
            index: candidate.score(weights, covered)
            for index, candidate in enumerate(candidates)
            if index not in chosen and not candidate.words.isdisjoint(weights)
        }
        best = max(scores, key=scores.__getitem__, default=None)
        if best is None or scores[best] < least:
            break
        least = least or scores[best] * _LEAST_SHARE
        chosen.add(best)
        covered |= candidates[best].words
    return [candidates[index] for index in sorted(chosen)]
