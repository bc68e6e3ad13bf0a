"""What is used in a day, by agent and by namespace, and what may be."""
