"""The Dagster side: assets that call the data plane and turn its results into metadata."""
