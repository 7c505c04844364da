"""The local Hub's Xet CAS: the v1 routes of the Xet protocol, by which clients upload and fetch chunks.

Newer routes (v2, upload grants) are 404, upon which clients use v1. A reconstruction is a list of terms and, for each
run of chunks, a signed URL into the xorb. Tokens come from the Hub's xet-write-token and xet-read-token.
"""

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from r2_hf_sandbox.hub.commits import SHA256
from r2_hf_sandbox.hub.disk import HubRefusal
from r2_hf_sandbox.hub.web import Hub, check_xet_token, hub_of, signature

MAX_XORB_BYTES = 80 * 1024 * 1024  # the protocol's 64 MiB, plus headers and footer


async def upload_xorb(request: Request) -> Response:
    hub = _cas(request, "write")
    body = await request.body()
    if len(body) > MAX_XORB_BYTES:
        raise HubRefusal(400, "xorb too large")
    inserted = await run_in_threadpool(hub.xet.put_xorb, _hash(request), body)
    return JSONResponse({"was_inserted": inserted})


async def upload_shard(request: Request) -> Response:
    """Store a shard. Its files become objects of the token's repository."""
    hub = _cas(request, "write")
    repo = hub.repos.of_internal_id(check_xet_token(hub.config, request.headers.get("authorization"), ("write",)))
    if repo is None:
        raise HubRefusal(404, "Repository not found", "RepoNotFound")
    for sha256 in await run_in_threadpool(hub.xet.put_shard, await request.body()):
        repo.push_object(sha256)
    return JSONResponse({"result": 1})


async def dedup(request: Request) -> Response:
    """Serve global deduplication: a shard of the stored xorbs around a chunk, which clients then do not upload."""
    hub = _cas(request, "read", "write")
    shard = await run_in_threadpool(hub.xet.dedup_shard, _hash(request))
    if shard is None:
        raise HubRefusal(404, "Chunk not tracked by global deduplication")
    return Response(shard, media_type="application/octet-stream")


async def reconstruction(request: Request) -> Response:
    """Serve the terms of a file or a range of it, and a signed URL for each run of chunks."""
    hub = _cas(request, "read", "write")
    file = hub.xet.file(_hash(request))
    if file is None:
        raise HubRefusal(404, "File does not exist")
    start, end = 0, file.size
    if requested := request.headers.get("range"):
        first, _, last = requested.removeprefix("bytes=").partition("-")
        start, end = int(first), min(file.size, int(last) + 1 if last else file.size)
        if start >= file.size:
            raise HubRefusal(416, "Range start exceeds file length")
    offset, terms = hub.xet.terms_of_range(file, start, end)
    runs: dict[str, list[list[int]]] = {}
    for xorb, first_chunk, end_chunk in sorted((term.xorb, term.start, term.end) for term in terms):
        merged = runs.setdefault(xorb, [])
        if merged and first_chunk <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end_chunk)
        else:
            merged.append([first_chunk, end_chunk])
    return JSONResponse(
        {
            "offset_into_first_range": offset,
            "terms": [
                {"hash": term.xorb, "unpacked_length": term.unpacked, "range": {"start": term.start, "end": term.end}}
                for term in terms
            ],
            "fetch_info": {xorb: [_fetch(hub, xorb, *run) for run in merged] for xorb, merged in runs.items()},
        }
    )


def _fetch(hub: Hub, xorb: str, start: int, end: int) -> dict[str, object]:
    packed = hub.xet.chunks(xorb).packed
    return {
        "range": {"start": start, "end": end},
        "url": f"{hub.cas_url}/xorb/{xorb}?sig={signature(hub.config, 'xorb', xorb)}",
        "url_range": {"start": packed[start], "end": packed[end] - 1},
    }


async def xorb_bytes(request: Request) -> Response:
    hub, xorb = hub_of(request), _hash(request)
    if request.query_params.get("sig") != signature(hub.config, "xorb", xorb):
        raise HubRefusal(403, "bad signature")
    return FileResponse(hub.xet.xorb_path(xorb), media_type="application/octet-stream")


async def telemetry(request: Request) -> Response:
    await request.body()
    return JSONResponse({})


def _cas(request: Request, *kinds: str) -> Hub:
    hub = hub_of(request)
    if not hub.config.xet or request.path_params["store"] != hub.config.store_id:
        raise HubRefusal(404, "Not found")
    check_xet_token(hub.config, request.headers.get("authorization"), kinds)
    return hub


def _hash(request: Request) -> str:
    if not SHA256.fullmatch(request.path_params["hash"]):
        raise HubRefusal(400, "malformed hash")
    return request.path_params["hash"]


CAS = "/_cas/{store}"
ROUTES = [
    Route(CAS + "/v1/xorbs/default/{hash}", upload_xorb, methods=["POST"]),
    Route(CAS + "/v1/shards", upload_shard, methods=["POST"]),
    Route(CAS + "/v1/chunks/{prefix}/{hash}", dedup),
    Route(CAS + "/v1/reconstructions/{hash}", reconstruction),
    Route(CAS + "/xorb/{hash}", xorb_bytes),
    Route("/v1/telemetry", telemetry, methods=["POST"]),  # at the root of the CAS's host
]
