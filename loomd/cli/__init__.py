"""What people talk to: one file per verb."""
