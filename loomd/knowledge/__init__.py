"""Kind KnowledgeBase: documents to cited passages."""
