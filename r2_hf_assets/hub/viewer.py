"""The dataset viewer of huggingface.co: whether it shows the dataset, and how many rows it has.

Its API is documented at huggingface.co/docs/dataset-viewer: `is-valid` says what works, `size` counts rows and names
configs that failed. Other Hubs have none, so they are not asked.
"""

from dataclasses import dataclass
from typing import Any

from huggingface_hub.utils import build_hf_headers, get_session

from r2_hf_assets.hub.errors import classify
from r2_hf_assets.settings import HubSettings

VIEWER = "https://datasets-server.huggingface.co"
_HUB = "https://huggingface.co"
_TIMEOUT_S = 15.0
_ERROR_CHARACTERS = 120


@dataclass(frozen=True)
class ViewerAnswer:
    """`shows`: what works, e.g. "preview, viewer"; `rows`: None if unknown; `problem`: one line, "" for none."""

    shows: str = "nothing"
    rows: int | None = None
    problem: str = ""


def ask_viewer(hub: HubSettings, base: str = VIEWER) -> ViewerAnswer | None:
    """Ask the viewer at `base`, without a retry; None if the Hub has none."""
    if base == VIEWER and hub.endpoint != _HUB:
        return None
    valid, problem = _get(hub, f"{base}/is-valid")
    if problem:
        return ViewerAnswer(problem=problem)
    works = [name for name in ("preview", "viewer", "search", "filter", "statistics") if valid.get(name) is True]
    if not {"preview", "viewer"}.intersection(works):
        return ViewerAnswer(problem="it shows no rows")
    size, problem = _get(hub, f"{base}/size")
    failed = size.get("failed") or []
    if failed:
        named = sorted({str(one.get("config")) for one in failed})
        problem = f"configs that failed there: {', '.join(named[:5])}{', ...' if len(named) > 5 else ''}"
    rows = ((size.get("size") or {}).get("dataset") or {}).get("num_rows")
    return ViewerAnswer(", ".join(works), rows if isinstance(rows, int) else None, problem)


def _get(hub: HubSettings, url: str) -> tuple[dict[str, Any], str]:
    """Return the JSON object of a response, and what is wrong, "" for nothing."""
    headers = build_hf_headers(token=hub.token, library_name="r2_hf_assets")
    try:
        response = get_session().get(url, params={"dataset": hub.repo_id}, headers=headers, timeout=_TIMEOUT_S)
        content = response.json()
    except Exception as error:
        if classify(error) is None and not isinstance(error, OSError | ValueError):
            raise
        return {}, f"no response of {url} ({type(error).__name__})"
    if response.status_code != 200 or not isinstance(content, dict):
        message = content.get("error") if isinstance(content, dict) else None
        return {}, f"HTTP {response.status_code}: {' '.join(str(message).split())[:_ERROR_CHARACTERS]}"
    return content, ""
