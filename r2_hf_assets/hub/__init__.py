"""The destination: the dataset repo on the Hugging Face Hub."""
