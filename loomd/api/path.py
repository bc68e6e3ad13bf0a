"""Where the API stands: the path that begins every address of an object. Used by the routes and by the client."""

PREFIX = "/apis/loomd.dev/v1"

LONGEST_QUESTION = 4000
"""Characters of a question to a knowledge base: it stands in the first line of a request, in up to 12 bytes each."""
LONGEST_LINE = 64 << 10
"""Bytes of the first line of a request, and of a header."""
