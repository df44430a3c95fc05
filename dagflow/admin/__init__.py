"""The admin listener: HTTP on this machine alone, to look into a running pipeline and to see to its dead letters.

It only reads what the engine counts, so that whoever looks costs the pipeline next to nothing. It lives from
before anything is opened until everything is closed, so that probes have an answer all the time.
"""
