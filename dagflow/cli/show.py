"""`dagflow show`: print the effective file. Starts nothing."""

from __future__ import annotations

from dagflow.cli.common import FileArgument, SetOption, load_plan


def show(file: FileArgument, overrides: SetOption = None) -> None:
    """Print the file as it takes effect.

    Overrides are applied and defaults filled in. Secrets are left out, references stay.
    """
    plan = load_plan(file, overrides or [])

    import tomli_w

    print(tomli_w.dumps(plan.effective, multiline_strings=True), end="")
