"""Drawings of a plan: text for a terminal, Mermaid, DOT and JSON.

Each format has its own module with one function that takes a plan and gives a string.
Nothing here opens a plugin, reads a file or knows of a running pipeline. `layout` decides
where nodes stand; the formats only draw.
"""
