"""Where the API stands: the path that begins every address of an object. Used by the routes and by the client."""

PREFIX = "/apis/loomd.dev/v1"
