"""`dagflow init`: write a pipeline to begin with, and the schema that helps an editor with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

SCHEMA_NAME: Final = "dagflow.schema.json"


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")] = Path("pipeline.toml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")] = False,
) -> None:
    """Write a pipeline to begin with.

    It runs as it is. Beside it goes the JSON Schema that helps editors with it.
    """
    from dagflow.cli.schema import render_schema

    starter = Path(__file__).with_name("starter.toml").read_text(encoding="utf-8")
    texts = {file: starter.replace("pipeline.toml", file.name), file.with_name(SCHEMA_NAME): render_schema() + "\n"}
    for path in texts:
        if path.exists() and not force:
            raise typer.BadParameter(f"`{path}` exists; --force overwrites it", param_hint="FILE")
    for path, text in texts.items():
        _write(path, text)
        print(f"wrote {path}")
    print(f"next: dagflow run {file}")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", errors="replace")  # a file's name need not be text
    except OSError as error:
        raise typer.BadParameter(f"`{path}` cannot be written: {error.strerror}", param_hint="FILE") from None
