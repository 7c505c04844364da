"""A local Hub: the routes of the real one that its clients request."""
