"""Read the source bucket: list its folders, fetch its objects, parse its metadata."""
