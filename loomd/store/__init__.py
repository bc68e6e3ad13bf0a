"""What is kept: one SQLite database in one state directory."""
