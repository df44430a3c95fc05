"""Admission: by which port a record enters, and whether its caller may ask for so much."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dagflow.completion import Completion
from dagflow.sources.http.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagflow.record import Record
    from dagflow.sources.http.callers import Caller
    from dagflow.sources.http.door import Door
    from dagflow.sources.http.options import HttpOptions
    from dagflow.sources.http.submission import Submission

_CHARACTERS_A_TOKEN: Final = 4  # of English text; enough for a reservation
_ANSWER_TOKENS: Final = 256  # of an answer that nothing bounds


def route(record: Record, model: str | None, options: HttpOptions) -> None:
    """Choose the port of a record by the model that was asked for; the first one stands for none.

    Raises:
        Refusal: there is no such model.
    """
    if model is None and options.models:
        model = record["model"] = options.models[0]
    if options.models and model not in options.models:
        text = f"there is no model `{model}`; `GET /v1/models` lists those that are served"
        raise Refusal(404, "model_not_found", text, param="model", should_retry=False)
    record.port = options.routes.get(model) if model is not None else None


def admit(
    door: Door,
    record: Record,
    caller: Caller,
    headers: dict[str, str],
    clock: Callable[[], float],
    *,
    streams: bool = False,
) -> Submission:
    """Hand a record in within what the caller's token allows; `headers` say how much is left of that.

    Raises:
        Refusal: it allows no more now, or there is no room.
    """
    quota = caller.grant.quota
    if quota is None:
        return door.submit(record, streams)
    guess, given = _guess(record), record.get("embeddings")
    headers |= quota.headers(clock())
    wait_s, what = quota.wait_s(guess, clock())
    if wait_s > 0:
        text = f"the token's limit of {what} is reached"
        raise Refusal(429, "rate_limit_exceeded", text, retry_after_s=wait_s, should_retry=True)
    submission = door.submit(record, streams)
    reserved = quota.take(guess, clock())
    headers |= quota.headers(clock())
    submission.on_settled.append(lambda: quota.settle(reserved, guess, _used(submission, given), clock()))
    return submission


def _guess(record: Record) -> int:
    """Guess how many tokens a record will take, whatever its caller wrote: so many are reserved at first."""
    messages, parameters = record.get("messages"), record.get("parameters")
    said = [m.get("content") for m in messages if isinstance(m, dict)] if isinstance(messages, list) else []
    length = sum(len(str(content or "")) for content in said or [record.get("input")])
    told = parameters if isinstance(parameters, dict) else {}
    most = told.get("max_completion_tokens") or told.get("max_tokens")
    bound = most if isinstance(most, int) and most > 0 else _ANSWER_TOKENS
    return length // _CHARACTERS_A_TOKEN + 1 + min(bound, _ANSWER_TOKENS)


def _used(submission: Submission, given: Any) -> int | None:
    """Say how many tokens a record has taken; None where nobody told, 0 for an answer that was made for another one.

    Args:
        given: the embeddings that the caller wrote, whose word does not count.
    """
    answer = submission.answer or {}
    completion, embeddings = answer.get("completion"), answer.get("embeddings")
    if isinstance(completion, Completion):
        if completion.shared is not None:
            return 0
        return completion.usage.total_tokens if completion.usage is not None else None
    usage = embeddings.get("usage") if isinstance(embeddings, dict) and embeddings is not given else None
    return usage.get("input_tokens") if isinstance(usage, dict) else None
