"""Kind Memory: what an agent remembers."""
