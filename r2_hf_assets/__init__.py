"""Podcast speech from an S3 bucket to a Hugging Face dataset, planned, built and committed by Dagster."""
