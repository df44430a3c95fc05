"""What is counted, and what is logged. Record payloads are never logged."""
