"""Redaction: the values of secret options stand in nothing that a run tells about itself.

A `Redactor` knows the secrets of one plan. It cleans texts, and exceptions with all that they came
from: logs, reports and messages go through it. It never touches a record: no engine puts a secret
there, and what others put there is theirs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, quote_plus

from pydantic import BaseModel

from dagflow.config.references import MASK
from dagflow.errors import DagflowError, RecordError, describe

if TYPE_CHECKING:
    from dagflow.graph.plan import Plan

_SHORT: Final = 6  # characters; what is shorter may stand within a word by chance
_LINE: Final = 16  # characters; so long a line of a secret, such as of a key in PEM, tells something by itself

_ARGS, _CAUSE, _CONTEXT = BaseException.args, BaseException.__cause__, BaseException.__context__
_SUPPRESS: Final = BaseException.__suppress_context__
_OF_RECORD_ERRORS: Final = ("attempt", "code", "ends_run", "node", "retry_after", "retryable")


class Redactor:
    """Replaces secrets by stars, also where they are escaped as in a URL, in JSON or in a `repr`."""

    def __init__(self, secrets: Iterable[str | bytes] = ()) -> None:
        forms = {form for secret in secrets if secret.strip() for form in _forms(secret)}
        # The longest first: a secret may be part of another.
        patterns = [_pattern(form) for form in sorted(forms, key=len, reverse=True)]
        self._secrets = re.compile("|".join(patterns)) if patterns else None

    @classmethod
    def of(cls, plan: Plan) -> Redactor:
        """Build the redactor of a plan: it knows every secret in the options of nodes and workers, and in tables."""
        owners = [owner.options for owner in (*plan.nodes.values(), *plan.workers.values(), *plan.exporters.values())]
        owners += [transport.options for transport in plan.transports.values()]
        owners += filter(None, [plan.auth, plan.tracing])
        return cls(secret for owner in owners for secret in _secrets_in(owner))

    def __bool__(self) -> bool:
        """Whether there is any secret to replace."""
        return self._secrets is not None

    def redact(self, text: str) -> str:
        """Give the text without secrets."""
        return text if self._secrets is None else self._secrets.sub(MASK, text)

    def redact_values(self, value: Any) -> Any:
        """Give JSON-like values without secrets in any text; keys stay."""
        if isinstance(value, str):
            return self.redact(value)
        if isinstance(value, dict):
            return {name: self.redact_values(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(map(self.redact_values, value)) if type(value) in (list, tuple) else value
        return value

    def scrub(self, error: BaseException) -> BaseException:
        """Take the secrets out of an exception, and out of all that it came from.

        Returns:
            The same exception, changed in place; or a stand-in with its traceback, where its text
            is made of something else than its arguments.
        """
        if self._secrets is None:
            return error
        chain = _all_behind(error)
        clean: dict[int, BaseException] = {}
        for one in reversed(chain):  # what a group holds comes before the group
            clean[id(one)] = self._cleaned(one, clean)
        for one in chain:
            _link(clean[id(one)], one, clean)
        return clean[id(error)]

    @contextmanager
    def scrubbing(self) -> Iterator[None]:
        """Take the secrets out of whatever is raised within."""
        try:
            yield
        except Exception as error:
            self.scrub(error)
            raise

    def _cleaned(self, error: BaseException, clean: Mapping[int, BaseException]) -> BaseException:
        inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
        try:
            # Past the class's own `__setattr__`: exceptions may be frozen, and their `args` a property.
            _ARGS.__set__(error, self.redact_values(_ARGS.__get__(error)))
            if hasattr(error, "__notes__"):
                error.__notes__ = self.redact_values(error.__notes__)
        except Exception:  # arguments that hold themselves, and whatever else a class from elsewhere does
            return _stand_in(error, self.redact(describe(error)))
        text = self.redact(describe(error))
        if text != describe(error) or any(clean[id(one)] is not one for one in inner):
            return _stand_in(error, text)
        return error


def _all_behind(error: BaseException) -> list[BaseException]:
    """Give an exception and all that it came from, each once; chains may be long, and closed."""
    chain = [error]
    known = {id(error)}
    for one in chain:
        inner = one.exceptions if isinstance(one, BaseExceptionGroup) else ()
        for other in (one.__cause__, one.__context__, *inner):
            if other is not None and id(other) not in known:
                known.add(id(other))
                chain.append(other)
    return chain


def _link(target: BaseException, origin: BaseException, clean: Mapping[int, BaseException]) -> None:
    """Let a clean exception come from what `origin` came from."""
    suppress = origin.__suppress_context__
    _CAUSE.__set__(target, clean.get(id(origin.__cause__)))
    _CONTEXT.__set__(target, clean.get(id(origin.__context__)))
    _SUPPRESS.__set__(target, suppress)


def _stand_in(error: BaseException, text: str) -> DagflowError:
    if not isinstance(error, RecordError):
        return DagflowError(text).with_traceback(error.__traceback__)
    other = RecordError(text).with_traceback(error.__traceback__)
    for name in _OF_RECORD_ERRORS:
        setattr(other, name, getattr(error, name))
    return other


def _secrets_in(value: Any) -> Iterator[str | bytes]:
    if hasattr(value, "get_secret_value"):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        yield from _secrets_in(vars(value))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _secrets_in(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _secrets_in(item)


def _forms(secret: str | bytes) -> Iterator[str]:
    """Give the texts in which a secret may stand."""
    if isinstance(secret, bytes):
        yield repr(secret)[2:-1]
        secret = secret.decode(errors="replace")
    for text in (secret, *(line for line in secret.splitlines() if len(line) >= _LINE)):
        yield from (text, repr(text)[1:-1], quote(text, safe=""), quote_plus(text))
        yield from (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])


def _pattern(form: str) -> str:
    escaped = re.escape(form)
    return escaped if len(form) >= _SHORT else rf"(?<!\w){escaped}(?!\w)"
