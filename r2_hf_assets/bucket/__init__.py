"""The source: reading episodes from the bucket."""
