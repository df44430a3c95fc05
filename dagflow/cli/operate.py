"""What `dagflow top` and `dagflow tap` share: which running pipeline is meant, and how they end."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dagflow.cli.common import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_INVALID

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from dagflow.admin.beacon import Beacon


RunningFile = Annotated[
    Path | None, typer.Argument(metavar="FILE", help="The pipeline file that runs.", show_default=False)
]
AddressOption = Annotated[
    str | None,
    typer.Option("--address", metavar="HOST:PORT", help="The admin listener, instead of a file; with --token-file."),
]
TokenFileOption = Annotated[
    Path | None, typer.Option("--token-file", metavar="FILE", help="The token file of the listener.")
]


def find_beacon(file: Path | None, overrides: list[str] | None, address: str | None, token_file: Path | None) -> Beacon:
    """Give the listener that is meant, or say what is wrong and exit."""
    from dagflow.admin.finding import find_by_address, find_by_file
    from dagflow.cli.common import print_diagnostics
    from dagflow.errors import AdminError, ConfigError

    if (file is None) is (address is None):
        raise typer.BadParameter("expected a pipeline file, or `--address`", param_hint="FILE")
    if (address is None) is not (token_file is None):
        raise typer.BadParameter("go together", param_hint="--address, --token-file")
    try:
        if file is not None:
            return find_by_file(file, overrides or [])
        return find_by_address(str(address), Path(str(token_file)))
    except ConfigError as error:
        print_diagnostics(error.diagnostics, "text")
        raise typer.Exit(EXIT_INVALID) from None
    except AdminError as error:
        raise failure(str(error)) from None


def run_until_left(work: Coroutine[Any, Any, None]) -> None:
    """Do something that the user may leave at any time.

    Exits with 1 where the listener can't be asked, and with 130 after SIGINT.
    """
    import asyncio

    from dagflow.errors import AdminError

    try:
        asyncio.run(work)
    except AdminError as error:
        raise failure(str(error)) from None
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except BrokenPipeError:  # whoever read it has enough; what is still buffered would fail at the exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def failure(message: str) -> typer.Exit:
    """Say what is wrong, and give the exit for it."""
    print(f"error[admin]: {message}", file=sys.stderr)
    return typer.Exit(EXIT_FAILED)
