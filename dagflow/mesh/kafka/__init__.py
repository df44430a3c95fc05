"""Kafka: what the source and the sink of this type share, on the client library aiokafka."""
