"""The work of the engine benchmark: five functions. Imports nothing of dagflow, so that the others run without it.

A record is about 200 characters of input, which become context, prompt, tokens and text.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

INPUT = "What does a channel do when it is full, and who is told about a record that was shed on the way? " * 2

Fields = MutableMapping[str, Any]


async def rag(record: Fields) -> Fields:
    """Find two passages."""
    text = record["input"]
    record["context"] = [text[:80], text[80:160]]
    return record


async def assemble(record: Fields) -> Fields:
    """Build the prompt."""
    record["prompt"] = "\n".join(record["context"]) + "\nQuestion: " + record["input"]
    return record


async def inference(record: Fields) -> Fields:
    """Make tokens of the prompt."""
    record["tokens"] = record["prompt"].split()
    return record


async def post(record: Fields) -> Fields:
    """Join the tokens to a text."""
    record["text"] = " ".join(record["tokens"][:40]).strip()
    return record


async def stream(record: Fields) -> Fields:
    """Count what goes out."""
    record["length"] = len(record["text"])
    return record


FUNCTIONS = (rag, assemble, inference, post, stream)
