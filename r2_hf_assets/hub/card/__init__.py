"""The dataset card: README.md on the Hub, from the figures of committed chunks and the text that people wrote."""
