"""Clients that others wrote, and a gateway with upstreams that answer them in every way: what the matrix is made of."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import uvloop

from tests.support.front import AUTHORITY, LOCALHOST, api, client_context, configuration, front
from tests.support.h2_upstream import Stream, h2_upstream
from tests.support.upstream import Connection, ok, upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

HERE = Path(__file__).parent
BIG = 4_000_000
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@dataclass(frozen=True)
class Case:
    """A request. ``size`` is its body's; what must come are ``status`` (0: an error), ``length``, and ``trailer``."""

    name: str
    path: str
    method: str = "GET"
    size: int = 0
    chunked: bool = False
    status: int = 200
    length: int | None = None
    trailer: str = ""

    @property
    def said(self) -> dict[str, Any]:
        """What a client in another language is told of it."""
        return {key: getattr(self, key) for key in ("name", "path", "method", "size", "chunked")}


def judged(cases: Iterable[Case], results: dict[str, Any]) -> list[str]:
    """Tell what did not come as it should."""
    faults = []
    for case in cases:
        status, length, trailer = results.get(case.name, ("nothing", 0, ""))
        if not case.status and isinstance(status, str):
            continue
        if status != case.status or case.length not in (None, length) or trailer not in ("", case.trailer):
            faults.append(f"{case.name}: {status}, {length} bytes, trailer {trailer!r}")
    return faults


# what answers


async def answer(connection: Connection) -> None:
    """Answer as the path says."""
    while True:
        head = await connection.head()
        what, *more = head.split(b" ")[1].strip(b"/").split(b"/")[1:]
        if what == b"early":  # and close over the rest, which resets the connection
            await connection.send(b"HTTP/1.1 %b Early\r\nContent-Length: 5\r\nConnection: close\r\n\r\nearly" % more[0])
            return
        await _answer_all(connection, head, what, more)


async def _answer_all(connection: Connection, head: bytes, what: bytes, more: list[bytes]) -> None:
    if what == b"continue":
        await connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = await _body(connection, head)
    if what == b"status":
        await connection.send(b"HTTP/1.1 %b Said\r\n\r\n" % more[0])
    elif what == b"big":
        await connection.send(ok(b"x" * BIG))
    elif what == b"trailers":
        await connection.send(CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: 15\r\n\r\n")
    elif what == b"cut":
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhalf")
        raise ConnectionError
    elif what == b"page":
        page = (HERE / "page.html").read_bytes().replace(b"CASES", json.dumps([one.said for one in PAGE]).encode())
        await connection.send(ok(page, b"Content-Type: text/html"))
    else:
        length = b"0" if head.startswith(b"HEAD") else b"%d" % len(body)
        await connection.send(ok(b"" if head.startswith(b"HEAD") else length, b"X-Length: " + length))


async def _body(connection: Connection, head: bytes) -> bytes:
    fields = head.lower()
    if b"\r\ncontent-length: " in fields:
        return await connection.reader.readexactly(int(fields.split(b"\r\ncontent-length: ")[1].split(b"\r\n")[0]))
    body = b""
    if b"\r\ntransfer-encoding: chunked" in fields:
        while size := int(await connection.reader.readuntil(b"\r\n"), 16):
            body += (await connection.reader.readexactly(size + 2))[:-2]
        while await connection.reader.readuntil(b"\r\n") != b"\r\n":
            pass
    return body


async def answer_h2(stream: Stream) -> None:
    """Answer before the end of the request, which then is not wanted any more (RFC 9113 section 8.1)."""
    if dict(stream.headers)[b":path"].startswith(b"/early/"):
        stream.respond(413)
        await stream.send(b"early", ended=True)
        while stream.waiting:
            await stream.read()  # or the connection's window would stay used up
        stream.reset(0)
    else:
        body = await stream.body()
        stream.respond(200)
        await stream.send(b"%d" % len(body))
        stream.end([("x-sum", "15")])


class Place:
    """A running gateway, in a thread of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = 0
        self.ca = directory / "ca.pem"
        self.ca.write_bytes(AUTHORITY.pair.chain_pem)
        (directory / "pair.pem").write_bytes(LOCALHOST.chain_pem + LOCALHOST.key_pem)
        self.blob = directory / "blob"
        self.blob.write_bytes(bytes(3_000_000))
        self._ready, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.directory / "pair.pem")
        async with upstream(answer) as plain, upstream(answer, tls=context) as secret, h2_upstream(answer_h2) as h2:
            insecure = {"transport": {"ssl_insecure_skip_verify": True}}
            config = configuration(
                api(plain.url, "/up/", gateway={"body_bytes": 0}, proxy={"strip_listen_path": False}),
                api(plain.url, "/small/", gateway={"body_bytes": 1 << 20}, proxy={"strip_listen_path": False}),
                api(f"https://127.0.0.1:{secret.port}/", "/tls/", proxy={"strip_listen_path": False, **insecure}),
                api(h2.url, "/h2/", proxy={"strip_listen_path": True}),
                api("http://127.0.0.1:1/", "/down/"),
                api(plain.url, "/closed/", gateway={"allowed_networks": ["192.0.2.0/24"]}),
            )
            async with front(self.directory, config) as gate:
                self.port = gate.port
                self._ready.set()
                await asyncio.get_running_loop().run_in_executor(None, self._over.wait)

    def __enter__(self) -> Place:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def origin(self) -> str:
        return f"https://localhost:{self.port}"

    # clients: each takes cases, and tells of each what came

    def _program(self, *arguments: str, seconds: float = 30) -> str:
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=seconds, check=False)
        assert done.stdout, done.stderr[-2000:]
        return done.stdout

    def node(self, version: str, cases: list[Case]) -> dict[str, Any]:
        told = json.dumps([case.said for case in cases])
        script = str(HERE / "client.mjs")
        return dict(json.loads(self._program("node", script, self.origin, version, str(self.ca), told)))

    def go(self, version: str, cases: list[Case]) -> dict[str, Any]:
        told = json.dumps([case.said for case in cases])
        return dict(json.loads(self._program(str(go_client() or "go"), self.origin, version, str(self.ca), told)))

    def curl(self, version: str, cases: list[Case], *, expects: bool = False) -> dict[str, Any]:
        return _each(cases, lambda case: self._curl(version, case, expects=expects))

    def _curl(self, version: str, case: Case, *, expects: bool) -> tuple[object, int, str]:
        arguments = ["curl", "-s", "-m", "20", "--cacert", str(self.ca), "-o", "/dev/null"]
        arguments += [
            "--http2" if version == "http2" else "--http1.1",
            "-w",
            "%{http_code} %{size_download} %{exitcode}",
        ]
        arguments += ["-I"] if case.method == "HEAD" else ["-X", case.method]
        if case.size:
            arguments += ["-T", "-"] if case.chunked else ["-T", str(self.blob)]
            arguments += [] if expects else ["-H", "Expect:"]
        with self.blob.open("rb") as blob:
            done = subprocess.run(
                [*arguments, self.origin + case.path], stdin=blob, capture_output=True, text=True, check=False
            )
        status, length, failed = done.stdout.split()
        return (int(status) if failed == "0" else f"curl's error {failed} after {status}"), int(length), ""

    def httpx(self, version: str, cases: list[Case]) -> dict[str, Any]:
        with httpx.Client(verify=client_context(), http2=version == "http2", http1=version == "http1") as client:

            def one(case: Case) -> tuple[object, int, str]:
                content: Any = bytes(case.size) if case.size else None
                if case.chunked:
                    content = iter([bytes(65536)] * (case.size // 65536) + [bytes(case.size % 65536)])
                try:
                    response = client.request(case.method, self.origin + case.path, content=content, timeout=20)
                except httpx.HTTPError as error:
                    return repr(error), 0, ""
                return response.status_code, len(response.content), ""

            return {case.name: one(case) for case in cases}

    def nghttp(self, version: str, cases: list[Case]) -> dict[str, Any]:
        assert version == "http2"
        return _each(cases, self._nghttp)

    def _nghttp(self, case: Case) -> tuple[object, int, str]:
        arguments = ["nghttp", "-nv", "-t", "20", "-H", f":method: {case.method}"]
        if case.size:
            arguments += ["-d", str(self.blob), *(["--no-content-length"] if case.chunked else [])]
        done = subprocess.run([*arguments, self.origin + case.path], capture_output=True, text=True, check=False)
        statuses = [line.split(":status: ")[1] for line in done.stdout.splitlines() if ":status: " in line]
        sums = [line.split("x-sum: ")[1] for line in done.stdout.splitlines() if "x-sum: " in line]
        whole = statuses and "recv RST_STREAM" not in done.stdout
        return (int(statuses[-1]) if whole else done.stdout[-200:]), -1, sums[-1] if sums else ""

    def chromium(self, version: str, cases: list[Case]) -> dict[str, Any]:
        assert cases == PAGE
        with tempfile.TemporaryDirectory() as profile:
            arguments = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors"]
            arguments += ["--disable-background-networking", f"--user-data-dir={profile}", "--dump-dom"]
            arguments += ["--disable-http2"] if version == "http1" else []
            page = self._program(*arguments, self.origin + "/up/page", seconds=60)
        results = dict(json.loads(page.split('<pre id="results">')[1].split("</pre>")[0]))
        assert results.pop("protocol") == {"http1": "http/1.1", "http2": "h2"}[version]
        return results


def _each(cases: list[Case], one: Callable[[Case], tuple[object, int, str]]) -> dict[str, Any]:
    with ThreadPoolExecutor(4) as pool:
        return dict(zip((case.name for case in cases), pool.map(one, cases), strict=True))


@lru_cache(1)
def go_client() -> Path | None:
    """Compile the Go client; None where that takes long, as it does before Go has compiled its library once."""
    program = Path(tempfile.gettempdir()) / f"interop-go-{os.getuid()}-{os.getpid()}"
    if not program.exists():
        try:
            subprocess.run(
                ["go", "build", "-o", str(program), str(HERE / "client.go")],
                check=True, timeout=20, env={**os.environ, "GO111MODULE": "off"},
            )  # fmt: skip
        except (subprocess.SubprocessError, OSError):
            return None
    return program


_LARGE = {"method": "POST", "size": 3_000_000}
EARLY = [
    Case("too large", "/small/echo", status=413, **_LARGE),
    Case("too large, as it turns out", "/small/echo", chunked=True, status=413, **_LARGE),
    Case("no such place", "/nowhere", status=404, **_LARGE),
    Case("not allowed", "/closed/", status=403, **_LARGE),
    Case("no upstream", "/down/", status=502, **_LARGE),
    Case("no upstream, chunked", "/down/", chunked=True, status=502, **_LARGE),
    Case("the upstream's 401", "/up/early/401", status=401, length=5, **_LARGE),
    Case("the upstream's 413, chunked", "/up/early/413", chunked=True, status=413, length=5, **_LARGE),
    Case("the upstream's 200", "/up/early/200", status=200, length=5, **_LARGE),
    Case("over TLS", "/tls/early/413", status=413, length=5, **_LARGE),
    Case("over HTTP/2", "/h2/early/413", status=413, length=5, **_LARGE),
]
USUAL = [
    Case("get", "/up/echo", length=1),
    Case("head", "/up/echo", method="HEAD"),
    Case("no content", "/up/status/204", status=204),
    Case("not modified", "/up/status/304", status=304),
    Case("upload", "/up/echo", length=7, **_LARGE),
    Case("upload, chunked", "/up/echo", chunked=True, length=7, **_LARGE),
    Case("upload over HTTP/2", "/h2/echo", length=7, trailer="15", **_LARGE),
    Case("continue", "/up/continue", length=7, **_LARGE),
    Case("download", "/up/big", length=BIG),
    Case("trailers", "/up/trailers", length=5, trailer="15"),
    Case("broken off", "/up/cut", status=0),
    *[Case(f"at the same time {number}", "/up/echo", length=1) for number in range(20)],
]
PAGE = [case for case in [*EARLY, *USUAL] if not case.chunked]
