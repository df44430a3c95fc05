"""Entry points become classes; what is wrong with one is said when it is asked for."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest
import toys
from toys import BROKEN, OFFERS, offer

from dagflow.compile import compile_text
from dagflow.errors import AmbiguousType, BrokenPlugin, ConfigError, UnknownType
from dagflow.registry import Registry


def test_a_type_gives_its_class() -> None:
    """The name is looked up within its kind."""
    registry = Registry(OFFERS)
    assert registry.load("source", "lines") is toys.Lines
    assert registry.load("sink", "lines") is toys.Show
    assert registry.load("transport", "memory") is toys.Memory


def test_names_are_sorted_and_need_no_import() -> None:
    """A package that does not import is offered all the same."""
    registry = Registry((offer("stages", "zeta", "no_such_module:X"), *OFFERS))
    assert registry.names("stage") == ["ask", "fill", "picky", "polish", "route", "sift", "split", "zeta"]
    assert registry.names("worker") == ["remote"]


def test_an_unknown_type_lists_what_there_is() -> None:
    """Also within a package that does not offer it."""
    for name in ("lnes", "other:lines"):
        with pytest.raises(UnknownType) as caught:
            Registry(OFFERS).load("source", name)
        assert caught.value.names == ("lines", "log", "serve", "ticks")


def test_two_packages_are_ambiguous_until_one_is_named() -> None:
    """`package:name` decides; the package's name may be written with `-` or `_`."""
    registry = Registry(BROKEN)
    with pytest.raises(AmbiguousType) as caught:
        registry.load("stage", "twice")
    assert caught.value.packages == ("one-package", "other-package")
    assert registry.load("stage", "one-package:twice") is toys.Route
    assert registry.load("stage", "other_package:twice") is toys.Split


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gone", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("missing", "AttributeError: module 'toys' has no attribute 'Missing'"),
        ("sinkish", "it is not a subclass of `Stage`"),
        ("idle", "it lacks the method `process`"),
        ("greedy", "its option `timeout` is a key of the engine"),
    ],
)
def test_a_broken_plugin_says_what_is_wrong(name: str, reason: str) -> None:
    """The package is named, so that the user knows whom to ask."""
    with pytest.raises(BrokenPlugin) as caught:
        Registry(BROKEN).load("stage", name)
    assert str(caught.value) == f"stage type `{name}` of package `toys` cannot be loaded: {reason}"


@pytest.mark.parametrize(
    ("name", "contract", "remedy"),
    [("Ahead", 2, "a newer dagflow-engine"), ("Behind", 0, "a version of the package that is written for it")],
)
def test_a_plugin_for_another_contract_is_refused(name: str, contract: int, remedy: str) -> None:
    """Both versions are named, and what to install."""
    with pytest.raises(BrokenPlugin) as caught:
        Registry((offer("stages", "other", f"toys:{name}"),)).load("stage", "other")
    told = f"it is written for contract {contract}, and this dagflow keeps contract 1; install {remedy}"
    assert str(caught.value) == f"stage type `other` of package `toys` cannot be loaded: {told}"


def test_a_contract_that_is_no_number_is_refused() -> None:
    """Whatever it is, the message says it."""
    with pytest.raises(BrokenPlugin, match="written for contract '1', and"):
        Registry((offer("stages", "other", "toys:Vague"),)).load("stage", "other")


def test_a_broken_plugin_breaks_only_what_names_it() -> None:
    """All other types work beside it, whatever is wrong with it."""
    broken = [offer("stages", name, f"toys:{name}") for name in ("Ahead", "Greedy", "Idle", "Missing")]
    registry = Registry((*OFFERS, *broken, offer("stages", "gone", "no_such_module:X")))
    assert compile_text(toys.chain('type = "fill"\ntemplate = "x"'), None, (), registry, {}).nodes["b"].cls is toys.Fill
    for name in ("Ahead", "Greedy", "Idle", "Missing", "gone"):
        with pytest.raises(ConfigError) as caught:
            compile_text(toys.chain(f'type = "{name}"'), None, (), registry, {})
        assert [d.code for d in caught.value.diagnostics if d.severity == "error"] == ["broken-plugin"]


def test_a_worker_may_use_keys_that_only_stages_have() -> None:
    """A key of the engine is one of the same table."""
    assert Registry((offer("workers", "timed", "toys:Timed"),)).load("worker", "timed") is toys.Timed


def test_entry_points_of_other_groups_are_nothing() -> None:
    """A package may offer whatever else it likes."""
    assert Registry((EntryPoint("x", "y:Z", "console_scripts"),)).names("stage") == []


def test_a_package_without_a_name_goes_by_its_module() -> None:
    """Entry points need not come from an installed package."""
    (found,) = Registry((EntryPoint("x", "some.module:Z", "dagflow.stages"),)).offers("stage")
    assert (found.package, found.version) == ("some", None)


def test_installed_packages_are_the_default() -> None:
    """The built-ins are found like any other plugin, and imported only when asked for."""
    code = (
        "import sys; from dagflow.registry import Registry; registry = Registry();"
        "assert 'echo' in registry.names('worker'); assert 'dagflow.workers.echo' not in sys.modules;"
        "registry.load('worker', 'echo'); assert 'dagflow.workers.echo' in sys.modules;"
        "assert 'dagflow.workers.extractive' not in sys.modules; assert 'networkx' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
