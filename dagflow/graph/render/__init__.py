"""Drawings of a plan: text for a terminal, Mermaid, DOT, SVG and JSON.

Each format has its own module with one function that takes a plan and gives a string.
Nothing here opens a plugin, reads a file or knows of a running pipeline. `layout` decides
where nodes stand; the formats only draw. A picture with lines takes more: `ranks` keeps places
free for them, `positions` and `lanes` set all side by side, and `geometry` makes boxes and ways of it.
"""
