"""Sample episodes, well-formed and damaged."""
