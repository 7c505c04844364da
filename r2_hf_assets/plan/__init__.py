"""The plan: which episodes belong to which chunk, for ever."""
