"""Kind Provider: the models that answer."""
