"""Recorded tasks: made into cassettes, and run again from them without a model, a tool or a network."""
