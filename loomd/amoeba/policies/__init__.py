"""How each phase decides; a policy is one file."""
