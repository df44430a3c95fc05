"""The graph of a plan: built, checked and drawn. networkx is imported here only, and late."""
