"""Payloads: what goes into JSON and comes back, and what is named because it does not."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from dagflow.completion import Completion
from dagflow.errors import StreamCut
from dagflow.exchange import Chunk, Usage
from dagflow.store.payload import pack, unpack

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("$dagflow"), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), PLAIN))
def test_what_json_holds_comes_back(fields):
    """Also lone surrogates, and objects that look like our own marks."""
    text, as_text = pack(fields)
    assert unpack(text) == fields
    assert as_text == []


def test_a_completion_comes_back_as_one_wherever_it_stands():
    """With its model and its usage."""
    completion = Completion("so", "length", "m", Usage(3, 4))
    text, as_text = pack({"completion": completion, "all": [{"first": completion}]})
    fields = unpack(text)
    for found in (fields["completion"], fields["all"][0]["first"]):
        assert (found.text, found.finish_reason, found.model, found.usage) == ("so", "length", "m", Usage(3, 4))
        assert not found.is_live
    assert as_text == []


def broken_completion():
    """One whose stream was cut."""

    async def main():
        completion = Completion.live()
        await completion.feed(Chunk("so"))
        completion.finish(StreamCut())
        return completion

    return asyncio.run(main())


class Mute:
    """Has no text."""

    def __str__(self):
        raise ValueError


class Unwilling(dict):
    """Says nothing of what it holds."""

    def items(self):
        raise OSError("gone")


def test_what_json_cannot_hold_is_text_and_named():
    """A set, bytes, keys that are no text, a nesting without end, an answer that broke, what has no text at all."""
    endless = []
    endless.append(endless)
    fields = {
        "a": {1},
        "b": b"x",
        "c": {1: 2},
        "d": endless,
        "e": broken_completion(),
        "f": Mute(),
        "g": [1],
        "h": Unwilling(a=1),
    }
    text, as_text = pack(fields)
    assert as_text == ["a", "b", "c", "d", "e", "f", "h"]
    found = unpack(text)
    assert found["g"] == [1]
    assert {name: found[name] for name in "abcdf"} == {
        "a": "{1}",
        "b": "b'x'",
        "c": "{1: 2}",
        "d": "[[...]]",
        "f": "<Mute>",
    }
