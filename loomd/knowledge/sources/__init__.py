"""Where the documents of a knowledge base are: one module for each type of source."""
