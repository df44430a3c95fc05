"""Recording: the native endpoint. Any fields go in, and the record comes back, now or when asked for."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from aiohttp import web

from dagflow.record import Outcome
from dagflow.sources.http.admission import admit, route
from dagflow.sources.http.asked import read_object, read_record, wrong
from dagflow.sources.http.callers import record_of
from dagflow.sources.http.kept import Kept
from dagflow.sources.http.refusals import Refusal
from dagflow.sources.http.responses import respond

if TYPE_CHECKING:
    from dagflow.plugin import Context
    from dagflow.record import Record
    from dagflow.sources.http.callers import Caller
    from dagflow.sources.http.door import Door
    from dagflow.sources.http.options import HttpOptions
    from dagflow.sources.http.submission import Submission

_CANCEL_S: Final = 1.0  # how long an answer waits for the end of what it has cancelled; nearly all end at once


class Recording:
    """Takes records in, and shows what became of them to the tenant whose they are."""

    def __init__(self, options: HttpOptions, context: Context, door: Door) -> None:
        self._options = options
        self._clock = context.clock
        self._door = door
        self._kept = Kept(options.records, context.clock)

    def replace(self, before: Recording) -> None:
        """Know what another one knows, which takes in no more."""
        self._kept.follow(before._kept)

    async def post(
        self, request: web.BaseRequest, caller: Caller, body: bytes, headers: dict[str, str]
    ) -> web.StreamResponse:
        """Take a record in; answer when it has settled, or at once with `Prefer: respond-async`."""
        asked = read_record(read_object(body))
        for name in self._options.fields:
            if asked.fields.get(name) is None:
                raise wrong(f"field `{name}` is missing", name)
        record = record_of(asked, caller, self._clock(), self._options.request_timeout)
        route(record, asked.model, self._options)
        submission = self._enter(record, caller, headers)
        if "respond-async" in request.headers.get("Prefer", "").lower():
            headers |= {"Location": f"/v1/records/{quote(record.id, safe='')}", "Preference-Applied": "respond-async"}
            return respond(self._shown(submission), headers, 202)
        try:
            await submission.wait_settled()
        except BaseException:
            self._door.leave(submission)
            raise
        if submission.outcome is not Outcome.DELIVERED:
            raise self._door.refusal_of(submission)
        return respond(self._shown(submission), headers)

    def get(self, caller: Caller, id: str) -> dict[str, Any]:
        """Say what has become of a record.

        Raises:
            Refusal: there is none of this id, or no longer.
        """
        return self._shown(self._find(caller, id))

    async def delete(self, caller: Caller, id: str) -> dict[str, Any]:
        """Cancel a record, wherever it is, and forget it; say what had become of it.

        Raises:
            Refusal: as `get`.
        """
        submission = self._find(caller, id)
        self._door.cancel(submission)
        self._kept.drop((caller.grant.tenant, id))
        with suppress(TimeoutError):
            async with asyncio.timeout(_CANCEL_S):
                await submission.wait_settled()
        return self._shown(submission)

    def _enter(self, record: Record, caller: Caller, headers: dict[str, str]) -> Submission:
        """Hand a record in, to be found by its id as long as it is remembered."""
        key = (caller.grant.tenant, record.id)
        if self._kept.find(key) is not None:
            raise Refusal(409, "duplicate_id", f"there is a record `{record.id}` already", should_retry=False)
        self._kept.check_room()
        submission = admit(self._door, record, caller, headers, self._clock)
        self._kept.put(key, submission)
        return submission

    def _find(self, caller: Caller, id: str) -> Submission:
        found = self._kept.find((caller.grant.tenant, id))
        if found is None:
            raise Refusal(404, "record_not_found", f"there is no record `{id[:200]}`, or no longer", should_retry=False)
        return found

    def _shown(self, submission: Submission) -> dict[str, Any]:
        shown: dict[str, Any] = {"id": submission.record.id, "object": "record", "outcome": None}
        if not submission.is_settled:
            return {**shown, "status": "in_flight"}
        outcome = submission.outcome
        shown |= {"status": "settled", "outcome": outcome and outcome.value, "record": None, "error": None}
        if submission.answer is not None:
            shown["record"] = dict(submission.answer)
        if outcome is not Outcome.DELIVERED:
            refusal = self._door.refusal_of(submission)
            shown["error"] = {"status": refusal.status, "code": refusal.code, "message": refusal.message}
        return shown
