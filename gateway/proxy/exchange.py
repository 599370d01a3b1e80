"""One request and its response: the request path, phase by phase.

    start ──► admit ──► route ──► connect ──► forward ──► response ──► end
                │          │          │           │            │
               413,405  404,503   502,503,504  retried?    502,504 or cut

``start``    the head is parsed and its framing is unambiguous (``http.head``)
``admit``    limits that a head can break
``route``    host and longest listen path choose the API, its balancer the target
``connect``  an idle connection, or a new one; other targets are tried when one cannot be reached
``forward``  the head is written anew, the body streamed
``response`` streamed back as it comes
``end``      one access-log line

Nothing is awaited and no task, future or timer is made for a request that finds an idle upstream connection: this file
is the gateway's cost per request.
"""

from __future__ import annotations

import re
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, cast

from gateway.errors import UpstreamError
from gateway.http import responses
from gateway.http.head import CHUNKED, RequestHead, ResponseHead
from gateway.proxy.attempts import Attempts
from gateway.proxy.edge_fields import demand_https, to_client, to_upstream
from gateway.proxy.tunnel import Tunnel
from gateway.routing.paths import target_path

if TYPE_CHECKING:
    from gateway.config.settings import Limits
    from gateway.http.downstream import Downstream, Upgradable
    from gateway.http.upstream import UpstreamStream, UpstreamTunnel
    from gateway.observe.access_log import Record
    from gateway.proxy.server import ProxyServer
    from gateway.routing.admission import Admission
    from gateway.routing.router import Route

# TRACE would show a client what proxies added (RFC 9110 section 9.3.8); CONNECT is for forward proxies.
_NOT_SERVED = frozenset((b"TRACE", b"CONNECT"))
_NO_TRAILERS: list[bytes] = []
_REQUEST_ID = re.compile(rb"[0-9A-Za-z._=+/-]{1,128}")


class Exchange(Attempts):
    """A request from ``connection``, until its response is complete or cannot be had."""

    # Class attributes, not slots: what an exchange never changes it need not set, on the path of every request.
    deadline = inf
    request_id = b""
    _identity = b""
    _route: Route | None = None
    _trailers = _NO_TRAILERS
    _responding = False
    _status = _received = _sent = 0
    _first_byte = 0.0

    def __init__(self, server: ProxyServer, connection: Downstream, head: RequestHead) -> None:
        self._server = server
        self._snapshot = snapshot = server.snapshot
        if connection.peer.own_port:
            self._snapshot = snapshot.of_port(connection.peer.own_port)
        self._connection = connection
        self._head = head
        self._started = monotonic()
        self._body_ended = head.length == 0

    # start, admit, route

    def start(self) -> None:
        """Admit the request and find its upstream."""
        head = self._head
        given = head.request_id
        self.request_id = given if given and _REQUEST_ID.fullmatch(given) else self._server.next_request_id()
        if head.method in _NOT_SERVED:
            self._fail(405, f"{head.method.decode()} is not served")
            return
        if self._connection.peer.redirect_port:
            self._to_https()
            return
        location, self._route, self._api, admission = self._snapshot.decide(head.host, head.target)
        if location is not None:
            self._redirect(location, "the path is not in its shortest form")
        elif (api := self._api) is None:
            self._without_api()
        elif admission is not None and (refusal := self._refusal(admission)) is not None:
            self._fail(*refusal)
        elif head.length > api.body_bytes > 0:
            self._fail(413, f"the request body is larger than {api.body_bytes} bytes")
        else:
            self._connect(reuse=True)

    @property
    def client_limits(self) -> Limits | None:
        """The patience with the client that the API asks for; None for the usual one."""
        return self._api.client_limits if self._api is not None else None

    def _refusal(self, admission: Admission) -> tuple[int, str] | None:
        peer = self._connection.peer
        refusal = admission.refusal(peer.server_name, peer.policy, self._client())
        if refusal is None and admission.clients is not None:
            if reason := admission.certificate_refusal(peer.certificate, encrypted=bool(peer.tls_version)):
                return 403, reason
            assert peer.certificate is not None
            self._identity = admission.identity(peer.certificate)
        return refusal

    def _client(self) -> str:
        """The address of who asked: the peer's, unless that is a proxy whose word is taken."""
        peer = self._connection.peer
        if not peer.trusted:
            return peer.address
        return self._server.forwarding.client(peer.address, self._head.forwarded)

    def _without_api(self) -> None:
        if self._head.target == b"*":  # RFC 9110 section 9.3.7: about the gateway, and never routed
            self._respond(200, b"", [responses.ALLOW, responses.date_line(), b"Content-Length: 0"])
        elif self._route is not None:
            self._fail(503, "this API is out of service")
        else:
            self._fail(404, "Not Found")

    def _to_https(self) -> None:
        head = self._head
        if head.target == b"*":
            self._without_api()
            return
        if not head.host:
            self._fail(400, "this port redirects to https, and the request names no host")
            return
        location = responses.redirect_location(head.host, head.target, self._connection.peer.redirect_port)
        self._redirect(location, "served over https only")

    def _redirect(self, location: bytes, message: str) -> None:
        # 308 keeps the method (RFC 9110 section 15.4.9); for GET the older 301 is understood by everything.
        status = 301 if self._head.method in (b"GET", b"HEAD") else 308
        self._answer(status, message, [b"Location: " + location])

    # forward

    def _forward(self, upstream: UpstreamStream) -> None:
        head, api, route = self._head, self._api, self._route
        assert api is not None
        assert route is not None
        target = self._target.target  # the pool's may have another path: it is shared by all that lead to its address
        self._upstream = upstream
        patience = self._target.response_timeout if self._body_ended else inf
        self.deadline = self._server.now + patience
        upstream.request(
            head,
            target_path(route, target, head.target),
            head.host if api.preserve_host else target.authority,
            to_upstream(
                head,
                self._connection.peer,
                api,
                b"%b%bX-Request-Id: %b\r\n" % (self._identity, self._snapshot.via[head.minor_version], self.request_id),
                self._server.forwarding,
            ),
            self,
        )
        if head.length and (self._held or self._body_ended):
            held, self._held = self._held, b""
            upstream.send_body(held, self._trailers, ended=self._body_ended)

    def request_body(self, data: bytes, *, ended: bool, trailers: list[bytes]) -> None:
        """Stream the request's body to the upstream, or hold it while the connection is being made."""
        self._received += len(data)
        if self._head.length == CHUNKED:
            assert self._api is not None
            limit = self._api.body_bytes
            if self._received > limit > 0:
                self.request_failed(413, f"the request body is larger than {limit} bytes")
                return
        if trailers and self._api is not None and self._api.request_rules is not None:
            trailers = self._api.request_rules.kept(trailers)
        self._body_ended = ended
        self._trailers = trailers
        upstream = self._upstream
        if upstream is None:
            self._held += data
            return
        if self._responding:
            self._talk()
        elif ended:
            self.deadline = self._server.now + self._target.response_timeout
        upstream.send_body(data, trailers, ended=ended)

    def pause_request(self) -> None:
        """The upstream does not read: neither do we."""
        if not self._body_ended:
            self._connection.pause_body()
            self.deadline = self._server.now + self._target.idle_timeout

    def resume_request(self) -> None:
        """The upstream reads again."""
        if not self._body_ended:
            if self._responding:
                self._talk()
            else:
                self.deadline = inf
            self._connection.resume_body()

    def _talk(self) -> None:
        """Once the upstream has begun to answer, whoever speaks keeps the exchange alive, unless the client is slow."""
        if self.deadline < inf:
            self.deadline = self._server.now + self._target.idle_timeout

    # response

    def response_interim(self, head: ResponseHead) -> None:
        """Pass an interim response on; a 100 only to who asked for it."""
        if head.status != 100 or self._head.expects_continue:
            self._connection.interim(head.status_line, head.lines)

    def response_upgrade(self, head: ResponseHead, upstream: UpstreamTunnel) -> Tunnel:
        """Hand both connections to a tunnel."""
        self._first_byte = monotonic()
        self._status = head.status
        self._upstream = None
        connection = cast("Upgradable", self._connection)  # for that is where the wish came from
        tunnel = Tunnel(
            self._server,
            connection,
            upstream,
            limits=self._snapshot.limits,
            websocket=head.upgrade.lower() == b"websocket",
            client_limits=self.client_limits,
            ended=self._tunnel_ended,
        )
        assert self._api is not None
        lines = to_client(head.lines, connection.peer, self._api, self._snapshot)
        if self._set_cookie is not None:
            lines.append(self._set_cookie)
        connection.upgrade(head._replace(lines=lines), tunnel)
        return tunnel

    def _tunnel_ended(self, received: int, sent: int) -> None:
        self._received, self._sent = received, sent
        self._end()

    def response_head(self, head: ResponseHead, body: bytes, *, ended: bool) -> None:
        """Begin the response."""
        self._first_byte = monotonic()
        self._responding = True
        self._status = head.status
        self._sent = len(body)
        api = self._api
        assert api is not None
        # RFC 9110 section 6.6.1: who passes a response on gives it the date that it lacks.
        lines = head.lines if head.dated else [*head.lines, responses.date_line()]
        lines = to_client(lines, self._connection.peer, api, self._snapshot)
        if self._set_cookie is not None:
            lines.append(self._set_cookie)
        if api.balancer is not None and api.balancer.health.troubled:
            api.balancer.health.succeeded(self._target.index)
        if ended:
            self._end()
        else:
            self.deadline = self._server.now + self._target.idle_timeout
        self._connection.respond(head.status_line, lines, head.length, body, ended=ended)

    def response_body(self, data: bytes, *, ended: bool, trailers: list[bytes]) -> None:
        """Stream more of the response."""
        self._sent += len(data)
        if ended:
            self._end()
        else:
            self.deadline = self._server.now + self._target.idle_timeout
        if trailers and self._api is not None and self._api.response_rules is not None:
            trailers = self._api.response_rules.kept(trailers)
        self._connection.send_body(data, trailers, ended=ended)

    def response_failed(self, error: UpstreamError, *, began: bool) -> None:
        """Send the request again if that is safe, else tell the client."""
        upstream, self._upstream = self._upstream, None
        assert upstream is not None
        self._attempt_failed(error, kept=upstream.served > 0, began=began)

    def pause_response(self) -> None:
        """The client does not read: neither do we."""
        if self._upstream is not None:
            self._upstream.pause()
            self.deadline = inf

    def resume_response(self) -> None:
        """The client reads again."""
        if self._upstream is not None:
            self.deadline = self._server.now + self._target.idle_timeout
            self._upstream.resume()

    # end

    def request_failed(self, status: int, reason: str) -> None:
        """The request turned out to be broken, too large or too slow while its body was read."""
        self._drop_upstream()
        if self._responding:
            self._cut()
        else:
            self._fail(status, reason)

    def abandoned(self) -> None:
        """The client is gone: so is the reason to go on."""
        if not self._done:
            self._status = self._status or 499  # what nginx and Tyk log for it
            self._drop_upstream()
            self._end()

    def response_refused(self, reason: str) -> None:
        """Take note that the response did not fit its announced length: no excess went out; the client is cut."""
        message = f"the response to the client was cut: {reason}"
        if self._pool is not None:
            self._pool.failed(UpstreamError(502, message))
        else:
            self._server.events.error("response.refused", message)
        self._drop_upstream()
        if not self._done:
            self._end()

    def expire(self) -> None:
        """The upstream has kept silent for too long."""
        connected = self._upstream is not None
        self._drop_upstream()
        if connected:
            waited = "send its response" if self._responding else "answer"
            error = UpstreamError(504, f"the upstream took too long to {waited}")
            self._note_failure(error)
        else:
            error = UpstreamError(503, "no connection became free in time")
        self._upstream_failed(error)

    def drain(self) -> None:
        """Go on: the connection ends with the response."""

    def _upstream_failed(self, error: UpstreamError) -> None:
        assert self._pool is not None
        self._pool.failed(error)
        if self._responding:
            self._cut(error.code)
        else:
            self._fail(error.status, responses.UPSTREAM_MESSAGES[error.status])

    def _drop_upstream(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.close()
        elif self._pool is not None:
            self._pool.leave(self)

    def _fail(self, status: int, message: str) -> None:
        self._answer(status, message, [])

    def _answer(self, status: int, message: str, lines: list[bytes]) -> None:
        """Answer with a message in the gateway's own name."""
        self._respond(status, responses.error_body(message), lines + responses.error_lines(status))

    def _respond(self, status: int, body: bytes, lines: list[bytes]) -> None:
        self._status = status
        demand_https(lines, self._connection.peer, self._snapshot)
        if self._head.method == b"HEAD":
            lines.append(b"Content-Length: %d" % len(body))
            body = b""
        self._sent = len(body)
        self._end()
        self._connection.respond(responses.status_line(status), lines, len(body), body, ended=True)

    def _cut(self, code: int = 0) -> None:
        """Break the connection off in the middle of a response: its end must not look like the end."""
        self._end()
        self._connection.abort(code)

    def _end(self) -> None:
        self._done = True
        self._upstream = None
        self.deadline = inf
        self._server.served(self)

    def record(self) -> Record:
        """Tell what the access log says of this exchange. Called at its end."""
        head, peer, pool = self._head, self._connection.peer, self._pool
        return (
            self._started,
            self._client() if peer.trusted else peer.address,
            peer,
            head.host,
            head.method,
            head.target,
            head.minor_version,
            self._status,
            self._received,
            self._sent,
            monotonic() - self._started,
            pool.upstream.name if pool is not None else "",
            self._first_byte and self._first_byte - self._started,
            self.request_id,
        )
