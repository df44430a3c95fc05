"""From the text of a pipeline file to checked tables, with a place for every finding.

Nothing here knows the graph, and nothing is started.
"""
