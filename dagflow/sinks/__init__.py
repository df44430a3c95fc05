"""Built-in sinks, each a plugin like any other."""
