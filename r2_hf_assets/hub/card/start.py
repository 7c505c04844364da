"""The card a new dataset starts with: README.md with the features of its columns.

The shards' audio column is struct<path, bytes>, the order the script wrote. `datasets` takes its Audio feature from a
file only when the struct reads <bytes, path>, but casts either order to the features that the card declares: so the
card is what makes load_dataset and the viewer play the audio. The first commit to a repo without a README adds this
one; what stands between its markers is written anew by `dataset_card`, and no chunk's commit touches it again.

Nothing of weight is imported here: every commit comes by.
"""

import re

CARD_PATH = "README.md"

# What stands between them is ours; whatever is outside is a person's.
BEGIN = "<!-- r2_hf_assets: begin -->"
END = "<!-- r2_hf_assets: end -->"

START_TEXT = """\
Podcast speech, one row a segment: the MP3 with its source key, transcript, speaker, duration, DNSMOS and language.
Files are `data/<language>/chunk-NNNNN[-part-NN].parquet`.

```python
from datasets import load_dataset

speech = load_dataset("<this repo>", split="train", streaming=True)
```
"""

CARD = f"""\
---
dataset_info:
  features:
  - name: audio
    dtype: audio
  - name: text
    dtype: string
  - name: speaker_id
    dtype: string
  - name: duration_seconds
    dtype: float32
  - name: dnsmos
    dtype: float32
  - name: language
    dtype: string
task_categories:
- automatic-speech-recognition
- text-to-speech
tags:
- audio
- speech
---

{BEGIN}
{START_TEXT}{END}
""".encode()


def without_figures(card: bytes) -> bytes:
    """A card whose section is as it was at the start: of a dataset whose files were removed it would count them."""
    section = re.compile(re.escape(BEGIN.encode()) + rb".*?" + re.escape(END.encode()), re.DOTALL)
    return section.sub(f"{BEGIN}\n{START_TEXT}{END}".encode(), card, count=1)
