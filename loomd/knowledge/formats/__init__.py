"""What documents are written in: one module for each format, found by its constant `FORMAT`."""
