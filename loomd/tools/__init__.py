"""Kind Tool: what an agent can do."""
