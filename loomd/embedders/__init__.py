"""Kind Embedder: text to vectors."""
