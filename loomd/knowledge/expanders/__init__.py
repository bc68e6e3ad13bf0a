"""Types of query expansion: each says what else is looked for than the question itself; the folder is the registry."""
