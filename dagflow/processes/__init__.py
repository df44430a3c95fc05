"""Processes: one pipeline in several processes, each with an engine of its own, and a parent for what they share.

    cli -> Crew (parent) -- Member per child -- Link (socket pair) -- Desk (child) -> Engine

A child runs the whole graph on its share. What cannot be shared out lives in the parent, and stands in the child as a
far node: a `FarSink` writes there, a `FarSource` brings what the parent took in. All branches of a record stay in one
child. The parent keeps what has settled, so that what a killed child had not is done once more by its successor.
"""
