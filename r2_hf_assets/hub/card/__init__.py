"""The dataset card: README.md on the Hub, from the figures of what is there and what people wrote."""
