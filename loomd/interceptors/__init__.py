"""Kind Interceptor: what looks at every model and tool call."""
