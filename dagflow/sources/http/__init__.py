"""Source `http`: an OpenAI-compatible service. A request's trip reads: listener, endpoints, asked, door, answers."""
