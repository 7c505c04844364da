"""A local Hub with the routes that clients of the real one request."""
