"""The local Hub's process: `python -m r2_hf_sandbox.hub.app FOLDER PORT [PUBLIC_URL]`.

`start_hub` starts it. It has one uvicorn worker, because the lock of a commit belongs to one process.
"""

import sys
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from r2_hf_sandbox.hub import api as hub_api
from r2_hf_sandbox.hub import cas as hub_cas
from r2_hf_sandbox.hub import files as hub_files
from r2_hf_sandbox.hub import lfs as hub_lfs
from r2_hf_sandbox.hub import pages as hub_pages
from r2_hf_sandbox.hub import purge as hub_purge
from r2_hf_sandbox.hub import releases as hub_releases
from r2_hf_sandbox.hub.disk import HubRefusal
from r2_hf_sandbox.hub.faults import FaultsAndLog
from r2_hf_sandbox.hub.web import Hub, open_hub, refusal_response

KEEP_ALIVE_S = 75  # longer than clients keep idle connections, so that none is reused while it closes


async def _handle_refusal(_: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, HubRefusal)
    return refusal_response(refusal)


def make_app(hub: Hub) -> ASGIApp:
    modules = (hub_api, hub_releases, hub_purge, hub_files, hub_lfs, hub_cas, hub_pages)
    routes = [route for module in modules for route in module.ROUTES]
    app = Starlette(routes=routes, exception_handlers={HubRefusal: _handle_refusal})
    app.state.hub = hub
    return FaultsAndLog(app)


def main(folder: Path, port: int, public_url: str | None = None) -> None:
    hub = open_hub(folder, public_url or f"http://127.0.0.1:{port}")
    uvicorn.run(
        make_app(hub),
        host="127.0.0.1",
        port=port,
        access_log=False,
        log_level="warning",
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=1,
        proxy_headers=False,
        lifespan="off",
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:4])
