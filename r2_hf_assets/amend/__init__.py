"""Change what is in the dataset: take episodes down, and find what changed in the bucket."""
