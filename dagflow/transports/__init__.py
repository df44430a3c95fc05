"""Built-in transports: what carries an edge."""
