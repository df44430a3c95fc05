"""Built-in sources, each a plugin like any other."""
