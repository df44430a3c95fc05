"""The style sheet of a drawing: light, and dark where the reader's system asks for it.

Every rule is bound to the class `dagflow`, so that a drawing that stands in a page changes
nothing else there. Colours are written out, since some viewers know no variables. What is told
by colour is told by shape, dash or word, too.
"""

from __future__ import annotations

from typing import Final

_FONT: Final = 'ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace'

_SHAPES: Final = f"""\
.dagflow text {{ font-family: {_FONT}; text-anchor: middle; }}
.dagflow .name {{ font-weight: 600; }}
.dagflow .box {{ stroke-width: 1.5; }}
.dagflow .line {{ fill: none; stroke-width: 1.5; }}
.dagflow .best-effort .line {{ stroke-dasharray: 5 4; }}
"""

_LIGHT: Final = {
    "paper": "#ffffff",
    "ink": "#1f2328",
    "quiet": "#57606a",
    "line": "#6e7781",
    "frame": "#d0d7de",
    "error": "#c4212c",
    "source": ("#e3f5e7", "#1f7f3b"),
    "stage": ("#e7f1fd", "#2f6bb8"),
    "sink": ("#f4eafc", "#7d4cc9"),
}
_DARK: Final = {
    "paper": "#0d1117",
    "ink": "#e6edf3",
    "quiet": "#a3adb8",
    "line": "#8b949e",
    "frame": "#3a424c",
    "error": "#ff7b72",
    "source": ("#10291a", "#46b45c"),
    "stage": ("#11253f", "#5aa2f5"),
    "sink": ("#271b3d", "#ab82f5"),
}


def build_style() -> str:
    """Give the rules of a drawing."""
    dark = "".join(f"  {rule}\n" for rule in _colours(_DARK))
    light = "".join(f"{rule}\n" for rule in _colours(_LIGHT))
    return f"{_SHAPES}{light}@media (prefers-color-scheme: dark) {{\n{dark}}}\n"


def _colours(palette: dict) -> list[str]:
    line, error, paper = palette["line"], palette["error"], palette["paper"]
    return [
        f".dagflow .paper {{ fill: {paper}; }}",
        f".dagflow .name, .dagflow .bound {{ fill: {palette['ink']}; }}",
        f".dagflow .detail, .dagflow .term, .dagflow .port {{ fill: {palette['quiet']}; }}",
        f".dagflow .line {{ stroke: {line}; }}",
        f".dagflow .arrow {{ fill: {line}; }}",
        f".dagflow .label {{ fill: {paper}; stroke: {palette['frame']}; }}",
        f".dagflow .error .line {{ stroke: {error}; }}",
        f".dagflow .error .arrow, .dagflow .error .port {{ fill: {error}; }}",
        *(
            f".dagflow .{kind} .box {{ fill: {palette[kind][0]}; stroke: {palette[kind][1]}; }}"
            for kind in ("source", "stage", "sink")
        ),
    ]
