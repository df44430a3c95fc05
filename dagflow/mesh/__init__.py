"""The mesh: records on their way between programs, over brokers."""
