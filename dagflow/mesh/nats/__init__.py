"""JetStream of NATS: a connection, a consumer of a stream, and a publisher. Needs the extra `nats`."""
