"""What of the web may be reached."""
