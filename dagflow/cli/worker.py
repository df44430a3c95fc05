"""`dagflow worker serve`: turn a model worker into a server for pipelines on other machines."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from dagflow.cli.common import EXIT_FAILED, EXIT_INVALID, EXIT_UNFINISHED, load_plan, print_diagnostics

if TYPE_CHECKING:
    from dagflow.graph.plan import Plan
    from dagflow.remote.server import Security

TOKEN_VARIABLE: Final = "DAGFLOW_WORKER_TOKEN"

# A worker without a file still is one of a pipeline: so its options are checked as anywhere.
_AROUND: Final = """
[pipeline]
edges = [{ from = "in", to = "ask" }, { from = "ask", to = "out" }]
[sources.in]
type = "jsonl"
path = "-"
fields = ["messages"]
[stages.ask]
type = "inference"
worker = "main"
[sinks.out]
type = "null"
[workers.main]
"""

worker = typer.Typer(
    help="Serve a model worker to pipelines on other machines.", no_args_is_help=True, rich_markup_mode=None
)


@worker.callback()
def _worker() -> None:
    pass


@worker.command()
def serve(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="The pipeline file that has the worker.")
    ] = None,
    name: Annotated[str | None, typer.Option("--worker", metavar="NAME", help="The worker of the file.")] = None,
    type_name: Annotated[str | None, typer.Option("--type", metavar="TYPE", help="A type, instead of a file.")] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", metavar="KEY=VALUE", help="An option of the worker; repeatable."),
    ] = None,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where to listen; port 0 takes any.")
    ] = "127.0.0.1:50051",
    tls_cert: Annotated[Path | None, typer.Option(metavar="FILE", help="The server's certificate.")] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="The key of the certificate.")] = None,
    client_ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Demand certificates of clients, signed by one of these.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help=f"What holds the token; else the variable {TOKEN_VARIABLE}.")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen beyond this machine without a token or client certificates.")
    ] = False,
    max_waiting: Annotated[
        int, typer.Option(min=0, metavar="N", help="How many calls may wait; more are refused as overloaded.")
    ] = 64,
    drain_timeout: Annotated[
        str, typer.Option(metavar="DURATION", help="How long calls may take to end after a signal.")
    ] = "30s",
) -> None:
    """Serve a worker, of a file or of a type, until a signal drains it.

    The first line of standard output says where it listens. Exits with 75 if calls were cut off.
    """
    timeout_s = _duration(drain_timeout)
    security = _security(tls_cert, tls_key, client_ca, token_file)
    _check_openness(listen, security, insecure)
    plan, name = _plan(file, name, type_name, options or [])
    _serve(plan, name, listen, security, max_waiting, timeout_s)


def _serve(plan: Plan, name: str, listen: str, security: Security, max_waiting: int, timeout_s: float) -> None:
    from dagflow.engine.serve import serve_blocking
    from dagflow.errors import DagflowError
    from dagflow.redaction import Redactor
    from dagflow.telemetry.logging import configure_logging

    host = listen.rpartition(":")[0]
    configure_logging(plan.logging, Redactor.of(plan))

    def on_ready(port: int) -> None:
        print(f"worker `{name}` listens at {host}:{port}", flush=True)

    try:
        finished = serve_blocking(plan, name, listen, security, max_waiting, timeout_s, on_ready)
    except ModuleNotFoundError as error:
        print(f"error: {error}; install `dagflow-engine[grpc]`", file=sys.stderr)
        raise typer.Exit(EXIT_FAILED) from None
    except (DagflowError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(EXIT_FAILED) from None
    if not finished:
        print("error: calls were cut off", file=sys.stderr)
        raise typer.Exit(EXIT_UNFINISHED)


def _plan(file: Path | None, name: str | None, type_name: str | None, options: list[str]) -> tuple[Plan, str]:
    """Compile what is to be served, and give the name of the worker."""
    if (file is None) is (type_name is None):
        raise typer.BadParameter("expected a pipeline file, or `--type`", param_hint="FILE")
    if file is None:
        return _plan_of_type(str(type_name), options), "main"
    plan = load_plan(file, [f"workers.{name}.{option}" for option in options])
    known = ", ".join(f"`{known}`" for known in plan.workers)
    if name is None and len(plan.workers) == 1:
        return plan, next(iter(plan.workers))
    if name is None:
        raise typer.BadParameter(f"the file has the workers {known}; say which", param_hint="--worker")
    if name not in plan.workers:
        raise typer.BadParameter(f"there is no worker `{name}`; the file has {known}", param_hint="--worker")
    return plan, name


def _plan_of_type(type_name: str, options: list[str]) -> Plan:
    from dagflow.compile import compile_text
    from dagflow.config.overrides import parse_override
    from dagflow.errors import ConfigError

    overrides = [f"workers.main.{option}" for option in [f"type={type_name}", *options]]
    for text in overrides:
        try:
            parse_override(text)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--option") from None
    try:
        return compile_text(_AROUND, Path.cwd() / "worker.toml", overrides)
    except ConfigError as error:
        print_diagnostics(error.diagnostics, "text")
        raise typer.Exit(EXIT_INVALID) from None


def _security(cert: Path | None, key: Path | None, client_ca: Path | None, token_file: Path | None) -> Security:
    from dagflow.remote.server import Security

    if (cert is None) is not (key is None):
        raise typer.BadParameter("goes together with the other", param_hint="--tls-cert, --tls-key")
    if client_ca is not None and cert is None:
        raise typer.BadParameter("needs `--tls-cert` and `--tls-key`", param_hint="--client-ca")
    token = os.environ.get(TOKEN_VARIABLE) if token_file is None else _read(token_file, "--token-file").decode().strip()
    if token_file is not None and not token:
        raise typer.BadParameter(f"`{token_file}` is empty", param_hint="--token-file")
    return Security(
        token or None,
        None if cert is None else _read(cert, "--tls-cert"),
        None if key is None else _read(key, "--tls-key"),
        None if client_ca is None else _read(client_ca, "--client-ca"),
    )


def _check_openness(listen: str, security: Security, insecure: bool) -> None:
    """Refuse to let anybody on the network use the worker, unless that is meant."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise typer.BadParameter(f"`{listen}` is no address; expected HOST:PORT", param_hint="--listen")
    local = host in ("127.0.0.1", "localhost", "[::1]") or host.startswith("unix:")
    if not local and not insecure and security.token is None and security.client_ca is None:
        text = f"`{host}` is open to others; give a token or `--client-ca`, or say `--insecure`"
        raise typer.BadParameter(text, param_hint="--listen")
    if not local and not insecure and security.token is not None and security.certificate is None:
        text = "the token would travel in clear; give `--tls-cert` and `--tls-key`, or say `--insecure`"
        raise typer.BadParameter(text, param_hint="--listen")


def _read(path: Path, option: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"`{path}` can't be read: {error.strerror}", param_hint=option) from None


def _duration(text: str) -> float:
    from dagflow.units import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--drain-timeout") from None
