"""Kind Blueprint: specialists that cost nothing until a task needs them."""
