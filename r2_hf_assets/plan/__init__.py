"""The plan: which episodes belong to which chunk."""
