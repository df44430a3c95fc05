"""`dagflow show`: print the effective file. Starts nothing."""

from __future__ import annotations

from dagflow.cli.common import FileArgument, SetOption, load_plan
from dagflow.cli.streams import print_document


def show(file: FileArgument, overrides: SetOption = None) -> None:
    """Print the file as it takes effect.

    Overrides are applied and defaults filled in. Secrets are left out, references stay.
    """
    plan = load_plan(file, overrides or [])

    import tomli_w

    print_document(tomli_w.dumps(plan.effective, multiline_strings=True))
