"""Types of rerankers: each judges anew how well passages answer a question; the folder is the registry."""
