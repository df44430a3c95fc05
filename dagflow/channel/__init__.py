"""Bounded channels: the live form of an edge.

A channel never decides what to lose; its policy does. It never logs. It only keeps the
books, which always balance:

    offered == taken + shed + expired + cancelled + buffered
"""
