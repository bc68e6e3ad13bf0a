"""Gives agents that do badly better instructions: written by a model, tried on past tasks, taken back when worse."""
