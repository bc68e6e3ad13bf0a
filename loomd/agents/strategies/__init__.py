"""How an agent and its model speak with each other: one module for each type of `spec.strategy`."""
