"""Kind Skill: instructions that an agent takes up when they fit."""
