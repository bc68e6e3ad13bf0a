"""Ways to cut documents into passages: one module for each."""
