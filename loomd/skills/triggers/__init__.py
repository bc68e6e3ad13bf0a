"""When a skill is taken up: one type a module."""
