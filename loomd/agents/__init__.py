"""Kind Agent: one mind, one loop."""
