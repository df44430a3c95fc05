"""Built-in stages, each a plugin like any other."""
