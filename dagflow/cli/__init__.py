"""The command line: `dagflow`, with one file for each command.

Importing this is cheap, since `dagflow --help` does: a command imports what it needs when it
is called.
"""

from __future__ import annotations

from typing import Annotated

import typer

from dagflow.cli.dlq import dlq
from dagflow.cli.graph import graph
from dagflow.cli.init import init
from dagflow.cli.mesh import mesh
from dagflow.cli.new import new
from dagflow.cli.plugins import plugins
from dagflow.cli.run import run
from dagflow.cli.schema import schema
from dagflow.cli.show import show
from dagflow.cli.spill import spill
from dagflow.cli.streams import prepare_streams
from dagflow.cli.tap import tap
from dagflow.cli.top import top
from dagflow.cli.validate import validate
from dagflow.cli.worker import worker
from dagflow.version import __version__

app = typer.Typer(
    help="Run LLM prompt traffic through a graph of stages that one TOML file declares.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line; exits with its code."""
    prepare_streams()
    app(prog_name="dagflow")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"dagflow {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


for command in (run, validate, graph, show, schema, init, top, tap):
    app.command()(command)
app.add_typer(plugins, name="plugins")
app.add_typer(dlq, name="dlq")
app.add_typer(spill, name="spill")
app.add_typer(mesh, name="mesh")
app.add_typer(new, name="new")
app.add_typer(worker, name="worker")
