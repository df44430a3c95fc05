"""The mesh: records on their way between programs, over brokers that others have built."""
