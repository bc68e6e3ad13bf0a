"""Tests of agent systems: kind Test, what a task must come to, and how it is run with its replies given."""
