"""Two small apps for the gateway to stand in front of, ``alpha`` and ``beta``: one process, one port each.

    python -m gateway.cli.demo.upstreams PARENT FD FD

takes the process that it shall not outlive, and two listening sockets: whoever starts it knows that the ports are
had before it runs.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from gateway.runtime.orphans import bind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request


def application(names: dict[int, str]) -> Starlette:
    """Make the app that answers on every port of ``names`` under the name of that port."""

    async def echo(request: Request) -> Response:
        forwarded = {name: value for name, value in request.headers.items() if name.startswith("x-forwarded")}
        return JSONResponse(
            {
                "app": names[request.scope["server"][1]],
                "method": request.method,
                "path": request.url.path,
                "host": request.headers.get("host", ""),
                **forwarded,
            }
        )

    methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    everything = Route("/{path:path}", echo, methods=methods)
    return Starlette(routes=[Route("/stream", stream), Route("/large", large), everything])


async def stream(_request: Request) -> Response:
    """Answer with a line every half second, five times."""

    async def lines() -> AsyncIterator[str]:
        for number in range(1, 6):
            yield f"line {number} of 5\n"
            await asyncio.sleep(0.5)

    return StreamingResponse(lines(), media_type="text/plain")


async def large(_request: Request) -> Response:
    """Answer with ten million bytes."""
    return Response(bytes(10_000_000), media_type="application/octet-stream")


def main(parent: int, *descriptors: int) -> None:
    """Serve until SIGTERM, or the parent's end, on inherited listening sockets in the order alpha, beta."""
    bind(parent)
    sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    names = dict(zip((sock.getsockname()[1] for sock in sockets), ("alpha", "beta"), strict=True))
    config = uvicorn.Config(application(names), log_level="warning", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
