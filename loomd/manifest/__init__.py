"""Text to typed objects: reading, schemas, references. Never imports anything that runs."""
