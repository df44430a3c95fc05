"""`python -m dagflow` is the command `dagflow`."""

from dagflow.cli import main

main()
