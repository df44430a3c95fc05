"""The rules that plugins keep, each as a check.

One list serves pytest, `dagflow plugins check` and `docs/contract.md`.

A rule is tried on a `Sample`, in a folder of its own, without an engine. What a rule needs beside
its own subject (opening, closing, a record that can be read) is taken leniently, so that one fault breaks one rule.
"""
