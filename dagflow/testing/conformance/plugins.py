"""Rules for all plugins: the class, its options, and its life from constructor to `close`."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from anyio import to_thread
from pydantic import ValidationError

from dagflow.config.shape import fields_of
from dagflow.config.tables import engine_keys
from dagflow.errors import describe
from dagflow.plugin import CONTRACTS
from dagflow.testing.conformance.calls import check_cancelled, use
from dagflow.testing.conformance.rule import Breach, demand, rule
from dagflow.testing.conformance.watching import BLOCKS, TOUCHES, watched_calls, watched_events

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from dagflow.testing.conformance.trial import Trial

_ODD_VALUES: Final[tuple[Any, ...]] = (None, True, -1, 0.5, "", "\0", "${", [], [None], {}, {"": None})


@rule("PLUGIN-1")
async def states_contract(trial: Trial) -> None:
    """The class is written for a version of the contract that this dagflow keeps."""
    contract, known = trial.sample.cls.contract, ", ".join(map(str, CONTRACTS))
    demand(contract in CONTRACTS, f"`contract` is {contract}; this dagflow keeps {known}")


@rule("PLUGIN-2")
async def leaves_engine_keys(trial: Trial) -> None:
    """No option has the name of a key of the engine."""
    taken = sorted(engine_keys(trial.sample.kind) & fields_of(trial.sample.cls.Options).keys())
    demand(not taken, f"the option `{taken[0] if taken else ''}` is a key of the engine")


@rule("PLUGIN-3")
async def refuses_wrong_options(trial: Trial) -> None:
    """Options that are missing or wrong are refused with pydantic's error, which names them, and with no other."""
    given = dict(trial.sample.options)
    _read_leniently(trial, {})
    for name in fields_of(trial.sample.cls.Options):
        for value in _ODD_VALUES:
            _read_leniently(trial, {**given, name: value})


def _read_leniently(trial: Trial, options: dict[str, Any]) -> None:
    try:
        trial.sample.cls.Options.model_validate(options, context={"base": trial.folder})
    except ValidationError:
        return
    except Exception as error:
        raise Breach(f"the options `{options}` raised {describe(error)}") from error


@rule("PLUGIN-4")
async def constructs_without_io(trial: Trial) -> None:
    """The constructor does no I/O: it touches no file, network, process or thread."""
    options = trial.options()
    build = trial.sample.build or (lambda: trial.sample.cls(options))
    with watched_events(TOUCHES) as seen:
        build()
    demand(not seen, f"the constructor did `{seen[0] if seen else ''}`")


@rule("PLUGIN-5")
async def constructs_without_loop(trial: Trial) -> None:
    """The constructor needs no event loop: `validate` and `graph` build plugins without one."""
    try:
        await to_thread.run_sync(trial.build)  # a worker thread has none
    except RuntimeError as error:
        raise Breach(f"without a running event loop, the constructor raised {describe(error)}") from error


@rule("PLUGIN-6")
async def leaves_options(trial: Trial) -> None:
    """The options are as they were after the plugin has been built, opened, used and closed."""
    before = trial.options().model_dump(warnings=False)
    async with trial.opened() as plugin:
        await use(trial, plugin)
    after = plugin.options.model_dump(warnings=False)
    changed = sorted(name for name in before if repr(before[name]) != repr(after.get(name)))
    demand(not changed, f"the option `{changed[0] if changed else ''}` was changed")


@rule("PLUGIN-7")
async def closes_unopened(trial: Trial) -> None:
    """`close` works without `open`."""
    await _closed(trial, trial.build(), "without `open`, `close`")


@rule("PLUGIN-8")
async def closes_twice(trial: Trial) -> None:
    """`close` works twice."""
    async with trial.opened() as plugin:
        await _first_close(trial, plugin)
        await _closed(trial, plugin, "the second `close`")


@rule("PLUGIN-9")
async def closes_after_failed_open(trial: Trial) -> None:
    """`close` works after `open` failed, or was cancelled, at any point."""
    for name in ("metrics", "logger", "workers", "clock"):
        plugin = trial.build()
        context = trial.context(plugin)
        setattr(context, name, _Refusing())
        await _failed(trial, plugin.open(context))
        await _closed(trial, plugin, "after an `open` that failed, `close`")
    plugin = trial.build()
    opening = asyncio.ensure_future(plugin.open(trial.context(plugin)))
    await asyncio.sleep(0)
    opening.cancel()
    await _failed(trial, opening)
    await _closed(trial, plugin, "after an `open` that was cancelled, `close`")


@rule("PLUGIN-10")
async def open_lets_cancellation_through(trial: Trial) -> None:
    """`open` lets a cancellation through."""
    plugins: list[Any] = []

    async def start() -> None:
        plugin = trial.build()
        plugins.append(plugin)
        await plugin.open(trial.context(plugin))

    try:
        await check_cancelled(trial, start, "`open`")
    finally:
        for plugin in plugins:
            await _first_close(trial, plugin)


@rule("PLUGIN-11")
async def never_blocks(trial: Trial) -> None:
    """The thread of the event loop is never made to wait: no `time.sleep`, no look-up of a host, no `os.system`."""
    with watched_calls(BLOCKS) as seen:
        async with trial.opened() as plugin:
            await use(trial, plugin)
    demand(not seen, f"the event loop waited in `{seen[0] if seen else ''}`")


class _Refusing:
    """Part of a context that fails whatever is asked of it."""

    def __getattr__(self, name: str) -> Any:
        raise _Refusal(name)

    def __getitem__(self, name: str) -> Any:
        raise _Refusal(name)

    def __call__(self) -> float:
        raise _Refusal("clock")


class _Refusal(Exception):
    """What a refusing context raises."""


async def _failed(trial: Trial, opening: Awaitable[None]) -> None:
    """Let something fail or succeed, as it likes."""
    with suppress(Exception, asyncio.CancelledError):
        await trial.bounded(opening, "`open`")


async def _first_close(trial: Trial, plugin: Any) -> None:
    with suppress(Exception):
        await trial.bounded(plugin.close(), "`close`")


async def _closed(trial: Trial, plugin: Any, what: str) -> None:
    try:
        await trial.bounded(plugin.close(), what)
    except Breach:
        raise
    except Exception as error:
        raise Breach(f"{what} raised {describe(error)}") from error


PLUGIN_RULES: Final = (
    states_contract,
    leaves_engine_keys,
    refuses_wrong_options,
    constructs_without_io,
    constructs_without_loop,
    leaves_options,
    closes_unopened,
    closes_twice,
    closes_after_failed_open,
    open_lets_cancellation_through,
    never_blocks,
)
