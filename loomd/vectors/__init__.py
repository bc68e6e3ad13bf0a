"""Vectors that are compared with one another: what knowledge bases and memories find by meaning with."""
