"""The embedded models: what exists, where its files are, and the process that serves it."""
