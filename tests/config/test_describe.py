"""Options in words."""

from toys import Ask, Lines, Polish, Remote

from dagflow.config.describe import Option, describe_options


def test_options_are_described_in_their_order() -> None:
    """Name, type, default and description."""
    assert describe_options(Lines.Options) == [
        Option("path", "path", "required", "the file to read"),
        Option("fields", "array of string", '["input"]', "what it writes"),
        Option("rate", 'string such as "100/s"', "-", "lines a second"),
    ]


def test_types_are_named_as_a_file_writes_them() -> None:
    """Choices by their values, units by an example, secrets as such."""
    types = {o.name: o.type for model in (Ask, Polish, Remote) for o in describe_options(model.Options)}
    assert types["mode"] == '"text" or "vector"'
    assert types["top_k"] == "integer"
    assert types["stream"] == "boolean"
    assert types["limit"] == 'integer or "none"'
    assert types["size"] == 'string such as "64MiB"'
    assert types["steps"] == "array of table (kind, field) or table (kind, pattern)"
    assert types["tags"] == "table"
    assert types["api_key"] == "secret"


def test_defaults_are_written_as_toml() -> None:
    """Also tables and durations."""
    defaults = {o.name: o.default for o in describe_options(Polish.Options)}
    assert defaults == {"steps": "[]", "limit": '"none"', "size": "-", "pause": '"0s"', "tags": "{}"}
