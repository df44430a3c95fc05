"""`dagflow schema`: print a JSON Schema of the language, for editors."""

from __future__ import annotations

from dagflow.cli.streams import print_document


def schema() -> None:
    """Print the JSON Schema of pipeline files.

    It knows the options of every installed plugin.
    """
    print_document(render_schema() + "\n")


def render_schema() -> str:
    """Give the schema as text; plugins that do not load are left out."""
    import json
    from contextlib import suppress

    from dagflow.config.schema import build_schema
    from dagflow.errors import PluginError
    from dagflow.registry import BASES, Registry

    registry = Registry()
    plugins: dict[str, dict[str, type]] = {kind: {} for kind in BASES}
    for kind, classes in plugins.items():
        for offer in registry.offers(kind):
            for name in (offer.name, f"{offer.package}:{offer.name}"):
                # What is broken or ambiguous is left out; `dagflow plugins list` tells why.
                with suppress(PluginError):
                    classes[name] = registry.load(kind, name)
    return json.dumps(build_schema(plugins), indent=2, ensure_ascii=False)
