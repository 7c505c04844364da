"""Read the source bucket: list its folders, fetch its objects, parse its metadata.

Every request raises RetriesExhausted when transient errors outlast its retries, and AccessError when the credentials
are refused or there is no such bucket.
"""
