"""Runs tasks durably: what is recorded is never done twice."""
