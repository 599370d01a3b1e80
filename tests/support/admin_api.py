"""A server that stands in for the admin API: it answers what a test says, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class FakeApi:
    """``answers`` maps "METHOD /path" to a status and a body: JSON, bytes as they are, or a function of the request."""

    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def __enter__(self) -> FakeApi:
        api = self

        class Answer(BaseHTTPRequestHandler):
            def answer(self) -> None:
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                length = int(self.headers.get("Content-Length") or 0)
                headers = {name.lower(): value for name, value in self.headers.items()}
                api.asked.append(Asked(self.command, parts.path, query, headers, self.rfile.read(length)))
                missing = (404, {"status": "error", "message": "Not found"})
                status, body = api.answers.get(f"{self.command} {parts.path}", missing)
                body = body(api.asked[-1]) if callable(body) else body
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815 - as http.server calls them

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"


def served(asked: Asked) -> dict[str, Any]:
    """What a client meets: whatever it asks for."""
    return {
        "domain": asked.query.get("domain", ""), "generation": 7, "workers": 2, "tls": True, "site": "",
        "minimum": "1.2", "maximum": "1.3", "suites": [], "ciphers": [], "fingerprints": [], "certificates": [],
        "shortfalls": [],
    }  # fmt: skip
