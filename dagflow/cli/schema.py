"""`dagflow schema`: print a JSON Schema of the language, for editors."""

from __future__ import annotations


def schema() -> None:
    """Print the JSON Schema of pipeline files.

    It knows the options of every installed plugin.
    """
    print(render_schema())


def render_schema() -> str:
    """Give the schema as text; plugins that do not load are left out."""
    import json

    from dagflow.config.schema import build_schema
    from dagflow.errors import PluginError
    from dagflow.registry import BASES, Registry

    registry = Registry()
    plugins: dict[str, dict[str, type]] = {kind: {} for kind in BASES}
    for kind in plugins:
        for offer in registry.offers(kind):
            try:
                plugins[kind][offer.name] = registry.load(kind, f"{offer.package}:{offer.name}")
            except PluginError:
                continue  # `dagflow plugins list` tells what is wrong with it
    return json.dumps(build_schema(plugins), indent=2, ensure_ascii=False)
