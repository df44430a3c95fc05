"""Plain expressions: what needs no Jinja once it is parsed, and what is made of values that Jinja gives.

Most conditions and keys are a name, and most prompts are texts and names; so they cost a tenth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jinja2 import Undefined, nodes

from dagflow.record import ALWAYS_READABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from jinja2.sandbox import ImmutableSandboxedEnvironment

    from dagflow.record import Record


def path_in(tree: nodes.Template) -> list[str] | None:
    """Give the names of an expression that is nothing but `a` or `a.b.c`; None for any other.

    Most conditions and keys are such; looked up without Jinja they cost a tenth.
    """
    [output] = tree.body
    [node] = output.nodes if isinstance(output, nodes.Output) else [None]
    attributes: list[str] = []
    while isinstance(node, nodes.Getattr):
        attributes.insert(0, node.attr)
        node = node.node
    return [node.name, *attributes] if isinstance(node, nodes.Name) else None


def pieces_of(tree: nodes.Template, environment: ImmutableSandboxedEnvironment) -> list[tuple[bool, str]] | None:
    """Give the texts and names of a template that is nothing but such; None for any other.

    Most prompts are such; put together without Jinja they cost a tenth.
    """
    pieces = []
    for output in tree.body:
        for node in output.nodes if isinstance(output, nodes.Output) else [None]:
            if isinstance(node, nodes.TemplateData):
                pieces.append((False, node.data))
            elif isinstance(node, nodes.Name) and node.name not in environment.globals:
                pieces.append((True, node.name))
            else:
                return None
    return pieces


def join_pieces(pieces: list[tuple[bool, str]], fill_in: Callable[[Record], str], record: Record) -> str:
    """Put texts and fields together; `fill_in` does it where a name is no field."""
    texts = []
    for is_name, piece in pieces:
        if not is_name:
            texts.append(piece)
        elif piece in record:
            value = record[piece]
            texts.append(value if value.__class__ is str else str(value))
        else:  # an attribute of the record, or no name at all: Jinja knows what to say
            return fill_in(record)
    return "".join(texts)


def look_up(environment: ImmutableSandboxedEnvironment, path: list[str], record: Record) -> Any:
    """Give the value of a name with its attributes; None for what is undefined."""
    name, *attributes = path
    if name in record:
        value = record[name]
    elif name in ALWAYS_READABLE:
        value = getattr(record, name)
    else:
        return None
    for attribute in attributes:
        value = environment.getattr(value, attribute)
    return None if isinstance(value, Undefined) else value


def without_undefined(value: Any) -> Any:
    """Give a value with None for what is undefined in it: `[meta.a, meta.b]`."""
    if isinstance(value, Undefined):
        return None
    if isinstance(value, list | tuple):
        return [without_undefined(item) for item in value] if any(map(_is_deep, value)) else value
    if isinstance(value, dict) and any(map(_is_deep, value.values())):
        return {name: without_undefined(item) for name, item in value.items()}
    return value


def _is_deep(value: Any) -> bool:
    return isinstance(value, list | tuple | dict | Undefined)
