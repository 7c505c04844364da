"""The Hub's limits, as its pages gave them in LOOKED_UP. docs/guide.md has them as a table, with the prices of storage.

They are recommendations but for FILE_BYTES_MAX, and may have changed since: huggingface.co/docs/hub/storage-limits, and
the Hub's response to one commit too many within an hour.
"""

LOOKED_UP = "November 2026"

FOLDER_FILES = 10_000
REPO_FILES = 100_000
FILE_BYTES = 200 * 10**9
FILE_BYTES_MAX = 500 * 10**9
# The page says that a repo becomes slow "after a few thousand commits".
COMMITS = 3_000
# Of a free account, by repo; paid ones have more.
COMMITS_AN_HOUR = 128
