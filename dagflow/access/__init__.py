"""Who may use a service, as whom, and how much."""
