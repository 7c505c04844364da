"""Assets: each calls the data plane and records its result as metadata."""
