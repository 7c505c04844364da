"""Compare plan, history and Hub; import the dataset of the script that this project replaces."""
