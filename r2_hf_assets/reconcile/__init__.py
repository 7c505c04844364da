"""Plan, history and Hub compared, and the dataset of the script that this project replaces taken over."""
