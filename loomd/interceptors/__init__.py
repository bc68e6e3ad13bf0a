"""Kind Interceptor: what looks at runs, model calls and tool calls."""
