"""Stores: SQLite files that outlive a run."""
