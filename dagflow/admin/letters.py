"""Dead letters over HTTP: listed, shown, sent into the running pipeline again, and removed.

Nothing of a record but its id is told unless somebody asks for its payload.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from anyio import to_thread

from dagflow.admin.replies import as_json, refusal
from dagflow.admin.selections import MOST, Meant, Resend, WrongRequest, read_body, read_query
from dagflow.errors import DagflowError
from dagflow.store.letter import Selection
from dagflow.store.letters import count_letters, find_letters
from dagflow.store.shelf import choose_letters, find_on, open_shelf, read_page
from dagflow.store.views import describe_head, describe_letter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from aiohttp import web

    from dagflow.admin.selections import Listed
    from dagflow.admin.view import View
    from dagflow.store.letter import Letter

    Handler = Callable[[web.Request], Awaitable[web.Response]]

_BODY_S: Final = 10.0  # how long a body may take to come
_STATUS: Final = {
    "wrong-request": 400,
    "replaying": 409,
    "answers-lost": 409,
    "several-processes": 409,
    "closed": 503,
    "store": 503,
}
_NAMED: Final = 5  # letters that are named for each reason why they are refused


class AnswersLost(DagflowError):
    """A replay would ask for answers, and pay for them, that nobody would get."""

    code = "answers-lost"

    def __init__(self, sink: str) -> None:
        super().__init__(
            f"sink `{sink}` answers callers who are gone; `discard_answers` does without them, "
            "and `dagflow dlq replay --out FILE` keeps them"
        )


class DeadLetters:
    """The routes of dead letters."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._refused: list[dict[str, Any]] = []

    def routes(self) -> list[web.RouteDef]:
        """Give them."""
        from aiohttp import web

        return [
            web.get("/dead-letters", self._told(self._list)),
            web.get("/dead-letters/replay", self._told(self._progress)),
            web.post("/dead-letters/replay", self._told(self._replay)),
            web.post("/dead-letters/purge", self._told(self._purge)),
            web.get(r"/dead-letters/{id:[1-9]\d{0,99}}", self._told(self._show)),
        ]

    def _told(self, handler: Handler) -> Handler:
        """Answer with what is wrong, where something is."""

        async def handle(request: web.Request) -> web.Response:
            if self._view.plan.dead_letters is None:
                return refusal(404, "no-letters", "the pipeline has no `[dead_letters]` table, so it keeps none")
            try:
                return await handler(request)
            except DagflowError as error:
                return refusal(_STATUS[error.code], error.code, str(error))

        return handle

    async def _list(self, request: web.Request) -> web.Response:
        listed = read_query(request.query)
        return as_json(await to_thread.run_sync(_page, self._path, listed))

    async def _show(self, request: web.Request) -> web.Response:
        number, payload = int(request.match_info["id"]), request.query.get("payload") == "true"
        selection = Selection(ids=(min(number, MOST),))
        found = await to_thread.run_sync(lambda: list(find_on(self._path, selection, payloads=payload)))
        if not found:
            return refusal(404, "no-letter", f"there is no dead letter {number}; it may have been replayed or purged")
        return as_json((describe_letter if payload else describe_head)(found[0]))

    async def _progress(self, _request: web.Request) -> web.Response:
        return as_json(self._replayed())

    async def _replay(self, request: web.Request) -> web.Response:
        from dagflow.engine.replay import choose_entries

        body = read_body(Resend, await _json(request))
        selection, plan = body.selection(), self._view.plan
        self._check_answers(body)
        letters = await to_thread.run_sync(choose_letters, self._path, selection, body.from_start)
        entries, refused = choose_entries(plan, letters, body.from_start)
        self._view.replay(entries, partial(read_page, self._path))
        self._refused = [_described(reason, some) for reason, some in refused.items()]
        return as_json(self._replayed(), 202)

    async def _purge(self, request: web.Request) -> web.Response:
        body = read_body(Meant, await _json(request))
        return as_json({"purged": await self._view.purge(body.selection())})

    def _replayed(self) -> dict[str, Any]:
        return {"replay": self._view.replayed(), "refused": self._refused}

    def _check_answers(self, body: Resend) -> None:
        from dagflow.sinks.reply import Reply

        replies = [sink.name for sink in self._view.plan.of_kind("sink") if issubclass(sink.cls, Reply)]
        if replies and not body.discard_answers:
            raise AnswersLost(replies[0])

    @property
    def _path(self) -> Path:
        return self._view.plan.dead_letters.path


def _page(path: Path, listed: Listed) -> Mapping[str, Any]:
    newest = listed.order == "newest"
    # One more than asked for tells whether there is a next page.
    selection = listed.selection(limit=listed.limit + 1, after=listed.after, newest_first=newest)
    with open_shelf(path) as connection:
        found = [] if connection is None else list(find_letters(connection, selection, payloads=False))
        total = 0 if connection is None else count_letters(connection, listed.selection(limit=None))
    letters = found[: listed.limit]
    following = letters[-1].id if len(found) > len(letters) else None
    return {"letters": [describe_head(letter) for letter in letters], "total": total, "next": following}


def _described(reason: str, letters: list[Letter]) -> dict[str, Any]:
    return {"reason": reason, "count": len(letters), "ids": [letter.id for letter in letters[:_NAMED]]}


async def _json(request: web.Request) -> Any:
    try:
        async with asyncio.timeout(_BODY_S):
            return await request.json()
    except (ValueError, LookupError, RecursionError, TimeoutError):  # an unknown charset, nested too deeply
        raise WrongRequest("the body is no JSON") from None
