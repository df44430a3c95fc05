"""Built-in model workers, each a plugin like any other."""
