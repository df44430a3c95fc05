"""The three renderings of diagnostics."""

import json
from dataclasses import replace

import pytest

from dagflow.config.diagnostics import diagnose, has_errors, render_github, render_json, render_text

PLACED = replace(
    diagnose("unknown-node", "edge goes to `asemble`, which does not exist", hint="did you mean `assemble`?"),
    path="pipeline.toml",
    line=7,
    column=24,
    width=9,
    source_line='  { from = "rag", to = "asemble" },',
)


def test_text_shows_place_line_caret_and_hint() -> None:
    """The caret stands under what is meant, without the indentation of the file."""
    assert render_text([PLACED]) == (
        "error[unknown-node]: edge goes to `asemble`, which does not exist\n"
        "  --> pipeline.toml:7:24\n"
        '   |  { from = "rag", to = "asemble" },\n'
        "   |                       ^^^^^^^^^\n"
        "\n"
        "hint: did you mean `assemble`?"
    )


def test_several_lines_are_joined() -> None:
    """A finding with several places names all lines, once each and in order."""
    cycle = replace(PLACED, other_lines=(9, 5, 7), hint=None)
    assert render_text([cycle]).splitlines()[1:] == ["  --> pipeline.toml:5, 7, 9"]


def test_without_a_line_the_file_is_named() -> None:
    """A finding about the whole file shows its path, or says that it is text."""
    assert render_text([diagnose("no-sinks", "the file has no sink")]).endswith("\n  --> <text>")


def test_carets_follow_wide_characters_and_tabs() -> None:
    """The caret is where the eye sees it."""
    wide = replace(PLACED, source_line='\tname = "日本" # x', column=14, width=3, hint=None)
    assert render_text([wide]).splitlines()[2:] == ['   |  name = "日本" # x', "   |                ^^^"]
    tab = replace(PLACED, source_line="a =\t1", column=5, width=1, hint=None)
    assert render_text([tab]).splitlines()[3] == "   |     \t^"


def test_a_long_line_is_cut_around_the_caret() -> None:
    """The shown part holds what is meant."""
    line = "x" * 200 + " here " + "y" * 200
    shown, marker = render_text([replace(PLACED, source_line=line, column=202, width=4, hint=None)]).splitlines()[2:]
    start = marker.index("^")
    assert shown[start : start + 4] == "here"
    assert shown.startswith("   |  ...x")
    assert shown.endswith("y...")
    assert len(shown) < 120


def test_control_characters_do_not_reach_the_terminal() -> None:
    """An escape sequence in a file's string is shown as what it is: garbage."""
    assert "\x1b" not in render_text([replace(PLACED, message="a\x1b[31mb", source_line='"\x1b[0m"')])


def test_colours_are_only_added_on_request() -> None:
    """The text is the same below the colours."""
    import re

    coloured = render_text([PLACED], colour=True)
    assert "\x1b[1;31m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == render_text([PLACED])


def test_json_has_exactly_the_public_keys() -> None:
    """Tools get a list of flat objects."""
    assert json.loads(render_json([PLACED])) == [
        {
            "code": "unknown-node",
            "severity": "error",
            "message": "edge goes to `asemble`, which does not exist",
            "path": "pipeline.toml",
            "line": 7,
            "column": 24,
            "hint": "did you mean `assemble`?",
        }
    ]


def test_github_annotations_are_escaped() -> None:
    """One line each, whatever stands in message and path."""
    odd = replace(PLACED, message="100 %\nof it", path="a,b:c.toml", hint=None)
    assert render_github([odd]) == ("::error file=a%2Cb%3Ac.toml,line=7,col=24,title=unknown-node::100 %25%0Aof it")


def test_a_diagnostic_needs_a_code_of_the_catalogue() -> None:
    """Nobody can make up a code in passing."""
    with pytest.raises(KeyError):
        diagnose("made-up", "message")


def test_warnings_are_no_errors() -> None:
    """The severity is that of the code."""
    assert not has_errors([diagnose("unused-worker", "message")])
    assert has_errors([diagnose("unused-worker", "message"), diagnose("cycle", "message")])
