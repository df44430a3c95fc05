"""Asking: the endpoints of models. A request becomes a record, and what it comes back as an answer."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

from aiohttp import web

from dagflow.errors import RecordError
from dagflow.record import Outcome
from dagflow.sources.http.admission import admit, route
from dagflow.sources.http.answers import build_chat, build_embeddings, build_text, completion_of
from dagflow.sources.http.asked import OPERATIONS, Asked, read_object
from dagflow.sources.http.callers import record_of
from dagflow.sources.http.events import EventStream, Framing
from dagflow.sources.http.ids import new_id
from dagflow.sources.http.kept import Kept
from dagflow.sources.http.refusals import Refusal, refusal_of
from dagflow.sources.http.responses import respond
from dagflow.sources.http.telling import headers_of

if TYPE_CHECKING:
    from dagflow.completion import Completion
    from dagflow.plugin import Context
    from dagflow.record import Record
    from dagflow.sources.http.callers import Caller
    from dagflow.sources.http.door import Door
    from dagflow.sources.http.options import HttpOptions
    from dagflow.sources.http.submission import Submission

_CHAT: Final = "/v1/chat/completions"


class Asking:
    """Answers requests for chats, completions and embeddings."""

    def __init__(self, options: HttpOptions, context: Context, door: Door) -> None:
        self._options = options
        self._clock = context.clock
        self._door = door
        self._known = Kept(options.idempotency, context.clock, frozenset({Outcome.DELIVERED}))

    def replace(self, before: Asking) -> None:
        """Know what another one knows, which takes in no more."""
        self._known.follow(before._known)

    async def post(
        self, request: web.BaseRequest, caller: Caller, body: bytes, headers: dict[str, str]
    ) -> web.StreamResponse:
        """Answer one request, whole or streamed."""
        asked = OPERATIONS[request.path](read_object(body))
        submission = self._submit(request.path, asked, caller, body, headers)
        try:
            if asked.stream:
                response = await self._stream(request, asked, submission, headers)
            else:
                response = await self._whole(request.path, asked, submission, headers)
        except BaseException:
            self._door.leave(submission)
            raise
        submission.listeners -= 1  # what goes on in other branches is for nobody who might leave
        return response

    def _submit(self, path: str, asked: Asked, caller: Caller, body: bytes, headers: dict[str, str]) -> Submission:
        """Hand a record in, or join the one that was handed in with the same `Idempotency-Key`."""
        key = caller.header("Idempotency-Key")
        if key is None:
            return self._enter(asked, caller, headers)
        name, digest = (caller.grant.tenant, key), sha256(path.encode() + body).digest()
        known = self._known.find(name)
        if known is None:
            self._known.check_room()
            submission = self._enter(asked, caller, headers)
            submission.digest = digest
            self._known.put(name, submission)
            return submission
        if known.digest != digest:
            raise Refusal(
                422, "idempotency_mismatch", "this `Idempotency-Key` came with another request", should_retry=False
            )
        known.listeners += 1
        headers["x-dagflow-replayed"] = "true"
        return known

    def _enter(self, asked: Asked, caller: Caller, headers: dict[str, str]) -> Submission:
        record = record_of(asked, caller, self._clock(), self._options.request_timeout)
        route(record, asked.model, self._options)
        return admit(self._door, record, caller, headers, self._clock, streams=asked.stream)

    async def _whole(
        self, path: str, asked: Asked, submission: Submission, headers: dict[str, str]
    ) -> web.StreamResponse:
        answer = await self._answer_of(submission)
        if path == "/v1/embeddings":
            body = build_embeddings(answer, asked.encoding, asked.model)
        else:
            completion = completion_of(answer)
            await self._wait_ended(completion, submission)
            build = build_chat if path == _CHAT else build_text
            body = build(completion, new_id(), asked.model)
        return respond(body, {**headers, **headers_of(submission, self._clock())})

    async def _stream(
        self, request: web.BaseRequest, asked: Asked, submission: Submission, headers: dict[str, str]
    ) -> web.StreamResponse:
        events = EventStream(request, headers, self._options.ping_interval)
        framing = Framing(request.path == _CHAT, new_id(), asked.model, asked.with_usage)
        try:
            try:
                completion = completion_of(await self._answer_of(submission))
                if completion.is_read:  # by another caller with the same key
                    await self._wait_ended(completion, submission)
                    completion = completion.with_text(completion.text)
                events.headers |= headers_of(submission, self._clock())
                await self._send(completion, submission, events, framing)
            except Refusal as refusal:
                if not events.begun:
                    raise
                await events.send(framing.break_off(refusal))
            return await events.end()
        finally:
            events.close()

    async def _send(
        self, completion: Completion, submission: Submission, events: EventStream, framing: Framing
    ) -> None:
        try:
            async for chunks in completion.batches():
                data = framing.frame(chunks)
                if data:
                    await events.send(data)
        except RecordError as error:
            raise await self._broken(submission, error) from error
        await events.send(framing.end())

    async def _answer_of(self, submission: Submission) -> Record:
        """Wait for the answer of a record.

        Raises:
            Refusal: it ended without one.
        """
        answer = await submission.wait_answered()
        if answer is None:
            raise self._door.refusal_of(submission)
        return answer

    async def _wait_ended(self, completion: Completion, submission: Submission) -> None:
        try:
            await completion.wait_ended()
        except RecordError as error:
            raise await self._broken(submission, error) from error

    async def _broken(self, submission: Submission, error: RecordError) -> Refusal:
        """Say why an answer broke: how its record ends tells more than the stream."""
        outcome = await submission.wait_settled()
        if outcome is Outcome.DELIVERED:  # what broke was not what counts for the record
            return refusal_of(Outcome.FAILED, error, self._door.retry_after_s)
        return self._door.refusal_of(submission)
