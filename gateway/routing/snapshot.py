"""What a worker serves: one immutable value per generation, made from the configuration and swapped by reference."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, cast

from gateway.config.networks import networks
from gateway.config.own_ports import own_port, spoken
from gateway.routing.admission import Admission, admission
from gateway.routing.balancer import Balancer
from gateway.routing.balancing import Target, weighted_targets
from gateway.routing.clients import ClientLists
from gateway.routing.field_rules import effective_version, of_requests, of_responses
from gateway.routing.paths import clean_path
from gateway.routing.policies import HostPolicies, towards_upstreams
from gateway.routing.router import Route, Router, host_name
from gateway.routing.services import ServicePort, service_ports
from gateway.routing.upstream_trust import credentials, trust
from gateway.tls.policy import HTTP1, HTTP2
from gateway.tls.versions import TlsVersion

if TYPE_CHECKING:
    from gateway.config.definitions import ApiDefinition
    from gateway.config.load import Configuration
    from gateway.config.material import Material
    from gateway.config.networks import Network
    from gateway.config.settings import AccessLog, GatewaySection, Limits, Settings
    from gateway.routing.field_rules import FieldRules
    from gateway.tls.client_certificates import AllowList
    from gateway.tls.upstream import UpstreamTls

_DEFAULT_MAX_IDLE = 100
_PROTOCOLS: dict[str, tuple[str, ...]] = {"http": ("http/1.1",), "h2c": ("h2",), "tcp": (), "tls": ()}


@dataclass(frozen=True, slots=True)
class Upstream:
    """One address that requests are forwarded to, and how.

    Two upstreams with the same ``key`` share connections, whatever path they ask for; ``name`` is what logs call it.
    ``tls`` is None where there is none; ``protocols`` are what is spoken, the preferred one first. ``trouble`` is why
    nothing may be sent there, "" when it may. Times are seconds. ``index`` is its place among those of its API;
    each worker makes at most ``max_connections`` (0: any number), and lets ``queue_length`` requests wait for one.
    ``head_bytes`` and ``head_fields`` bound the heads of its responses. ``proxy_protocol`` is the version in which it
    is told whose each connection is; ``negotiate`` is the protocol in which a service's is asked for TLS.
    """

    key: str
    name: str
    index: int
    target: Target
    tls: UpstreamTls | None
    protocols: tuple[str, ...]
    trouble: str
    connect_timeout: float
    response_timeout: float
    idle_timeout: float
    dns_interval: float
    max_idle: int
    max_connections: int
    queue_length: int
    queue_timeout: float
    head_bytes: int
    head_fields: int
    proxy_protocol: Literal["v1", "v2"] | None
    negotiate: Literal["", "postgresql"]


@dataclass(frozen=True, slots=True)
class Api:
    """One API as the request path sees it. ``balancer`` is the one thing in a snapshot that moves.

    It is None where there is nothing to choose: all requests go to the first of ``upstreams``.
    ``body_bytes`` is the largest request body, 0 for any; ``client_limits`` stand in for the snapshot's. Rules that are
    None ask for nothing and cost nothing.
    """

    preserve_host: bool
    upstreams: tuple[Upstream, ...]
    balancer: Balancer | None
    body_bytes: int
    client_limits: Limits | None
    admission: Admission | None
    request_rules: FieldRules | None
    response_rules: FieldRules | None
    upgrades: bool


@dataclass(frozen=True, slots=True)
class Proxies:
    """Who says by the PROXY protocol whose connection it brings, within ``timeout`` seconds.

    Connections from elsewhere are refused if ``exclusive``, else served for what they are.
    """

    networks: tuple[Network, ...]
    exclusive: bool
    timeout: float


Decision = tuple[bytes | None, Route | None, Api | None, Admission | None]
"""Where a path that is not in its shortest form should be asked for instead, or the route, its API and who may ask it
(None: everybody). An API that is out of service has a route alone, and a path that leads nowhere has nothing."""

_ANY_HOST: dict[str, Any] = {"custom_domains": False, "hostname": "", "strict": False}
_DECISIONS = 4096
_DECISION_BYTES = 512


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that decides about connections and requests.

    ``ports`` are the snapshots of other ports that APIs have opened; what they share is the same.
    ``hosts`` is None where plain HTTP is spoken; ``protocols`` are what is spoken over TLS, the preferred one first, by
    their ALPN names; ``via`` are the lines that requests in HTTP/1.0, 1.1 and 2 go on with. ``services`` are what other
    ports serve; ``apis`` holds theirs, too.
    """

    generation: int
    limits: Limits
    hosts: HostPolicies | None
    protocols: tuple[bytes, ...]
    strict_sni: bool
    trusted_proxies: tuple[Network, ...]
    forwarded: Literal["x-forwarded", "forwarded", "both"]
    xff_depth: int
    proxies: Proxies | None
    https_port: int
    hsts: bytes | None
    via: tuple[bytes, ...]
    close_connections: bool
    upgrades: bool
    read_timeout: float
    write_timeout: float
    access_log: AccessLog
    upstream_keys: frozenset[str]
    skip_url_cleaning: bool
    router: Router
    apis: dict[str, Api]
    services: dict[int, ServicePort]
    ports: dict[int, Snapshot] = field(default_factory=dict)

    decided: dict[tuple[bytes, bytes], Decision] = field(default_factory=dict, compare=False, repr=False)

    @property
    def own_ports(self) -> frozenset[int]:
        """The ports beside the gateway's that are to be open."""
        return frozenset((*self.services, *self.ports))

    def of_port(self, port: int) -> Snapshot:
        """Return what is served on a port, 0 for the gateway's; nothing on one that nobody has any more."""
        if not port:
            return self
        return self.ports.get(port) or replace(self, router=Router((), **_ANY_HOST), ports={}, decided={})

    def decide(self, host: bytes, target: bytes) -> Decision:
        """Decide about a request by its Host field and its target; who asks again gets the answer of before."""
        return self.decided.get((host, target)) or self._decide(host, target)

    def _decide(self, host: bytes, target: bytes) -> Decision:
        location = None if self.skip_url_cleaning else clean_path(target)
        route = self.router.match(host, target) if location is None else None
        api = self.apis[route.api_id] if route is not None and not route.closed else None
        decision = location, route, api, self._admission(api, host) if api is not None else None
        if len(host) + len(target) <= _DECISION_BYTES:
            if len(self.decided) >= _DECISIONS:
                self.decided.clear()
            self.decided[host, target] = decision
        return decision

    def _admission(self, api: Api, host: bytes) -> Admission | None:
        if self.hosts is None or not self.hosts.differ:
            return api.admission
        name = host_name(host)
        return replace(api.admission or Admission(), host=name, policy=self.hosts.of_host(name))


def renumbered(snapshot: Snapshot, generation: int) -> Snapshot:
    """Return the snapshot of a generation with the same configuration; everything in it is shared."""
    ports = {port: replace(there, generation=generation) for port, there in snapshot.ports.items()}
    return replace(snapshot, generation=generation, ports=ports)


def build(configuration: Configuration, generation: int) -> Snapshot:
    """Make the snapshot of a generation.

    Raises:
        ConfigurationError, ValueError: the configuration holds what ``config.load`` would not have let through.
    """
    settings = configuration.settings
    options = settings.http_server_options
    own = settings.gateway
    limits = _effective_limits(settings)
    clients = ClientLists(configuration)
    apis = {
        api.api_id: _api(api, settings, limits, configuration.material, clients.of_api(api))
        for api in configuration.apis
    }
    redirect = own.http_redirect
    hsts_max_age = redirect.hsts_max_age if redirect is not None else 0
    main = Snapshot(
        generation=generation,
        limits=limits,
        hosts=None,
        protocols=(HTTP2, HTTP1) if options.enable_http2 else (HTTP1,),
        strict_sni=own.tls.strict_sni,
        trusted_proxies=networks(own.trusted_proxies),
        forwarded=own.forwarded,
        xff_depth=options.xff_depth,
        proxies=_proxies(own),
        https_port=(redirect and redirect.https_port) or settings.listen_port,
        hsts=b"Strict-Transport-Security: max-age=%d" % hsts_max_age if hsts_max_age else None,
        via=tuple(b"Via: %b %b\r\n" % (v, own.via.encode()) if own.via else b"" for v in (b"1.0", b"1.1", b"2.0")),
        close_connections=settings.close_connections,
        upgrades=any(api.upgrades for api in apis.values()),
        read_timeout=options.read_timeout,
        write_timeout=options.write_timeout,
        access_log=own.access_log,
        upstream_keys=frozenset(upstream.key for api in apis.values() for upstream in api.upstreams),
        skip_url_cleaning=options.skip_url_cleaning,
        router=Router((), **_ANY_HOST),
        apis=apis,
        services=service_ports(configuration, apis, limits, clients),
    )
    opened = {own_port(api, settings) for api in configuration.apis if not api.is_service} - {0}
    ports = {port: _on_port(main, configuration.of_port(port), clients) for port in opened}
    return replace(_on_port(main, configuration.of_port(0), clients), ports=ports)


def _on_port(main: Snapshot, configuration: Configuration, clients: ClientLists) -> Snapshot:
    """Return the snapshot of one port, for which the APIs are that ``configuration`` has."""
    settings = configuration.settings
    first = next((api for api in configuration.apis if own_port(api, settings)), None)
    encrypted = spoken(first, settings) == "https" if first else settings.http_server_options.use_ssl
    return replace(
        main,
        hosts=HostPolicies.of(configuration, clients) if encrypted else None,
        proxies=main.proxies if first is None or first.enable_proxy_protocol else None,
        router=Router(
            configuration.apis,
            configuration.closed,
            custom_domains=settings.enable_custom_domains,
            hostname=settings.hostname,
            strict=settings.http_server_options.enable_strict_routes,
        ),
        decided={},
    )


def _proxies(own: GatewaySection) -> Proxies | None:
    rule = own.proxy_protocol
    return Proxies(networks(rule.proxies), rule.others == "refuse", rule.timeout) if rule is not None else None


def _effective_limits(settings: Settings) -> Limits:
    """Let Tyk's keys, where they are set, speak for the limits of the same meaning."""
    limits = settings.gateway.limits
    patience = settings.proxy_default_timeout
    changes = {
        "body_bytes": settings.http_server_options.max_request_body_size,
        "upstream_response_timeout": patience,
        "upstream_connect_timeout": min(patience, limits.upstream_connect_timeout),
        "drain_timeout": settings.graceful_shutdown_timeout_duration,
    }
    values = limits.model_dump() | {key: value for key, value in changes.items() if value}
    return _plain(values)


def _plain(values: dict[str, Any]) -> Limits:
    """Several are read for each request, and a plain object gives its attributes three times as fast as a model."""
    return cast("Limits", SimpleNamespace(**values))


def _api(api: ApiDefinition, settings: Settings, limits: Limits, material: Material, clients: AllowList | None) -> Api:
    given, withheld = credentials(api, material)
    weights = weighted_targets(api)
    upstreams = _upstreams(api, settings, limits, material, tuple(weights), withheld)
    chooses = len(upstreams) > 1 or api.proxy.check_host_against_uptime_tests
    upgrades, is_api = api.gateway.enable_websockets, not api.is_service
    return Api(
        preserve_host=api.proxy.preserve_host_header,
        upstreams=upstreams,
        balancer=Balancer(api, upstreams, tuple(weights.values())) if chooses else None,
        body_bytes=_body_bytes(api, limits),
        client_limits=_client_limits(api, limits),
        admission=admission(api, clients),
        request_rules=of_requests(api, given),
        response_rules=of_responses(api),
        upgrades=(settings.http_server_options.enable_websockets if upgrades is None else upgrades) and is_api,
    )


def _upstreams(
    api: ApiDefinition,
    settings: Settings,
    limits: Limits,
    material: Material,
    targets: tuple[Target, ...],
    withheld: str,
) -> tuple[Upstream, ...]:
    """The targets of an API. ``withheld`` is why nothing may be sent to any of them, "" when it may."""
    queue, timeouts = api.gateway.queue, api.gateway.timeouts
    how: dict[str, Any] = {
        "connect_timeout": timeouts.connect or limits.upstream_connect_timeout,
        "response_timeout": timeouts.response or limits.upstream_response_timeout,
        "idle_timeout": timeouts.idle or limits.upstream_idle_timeout,
        "dns_interval": limits.upstream_dns_interval,
        "max_idle": settings.max_idle_connections_per_host or _DEFAULT_MAX_IDLE,
        "max_connections": queue.max_connections,
        "queue_length": queue.length,
        "queue_timeout": queue.timeout,
        "head_bytes": limits.upstream_head_bytes,
        "head_fields": limits.upstream_head_fields,
        "proxy_protocol": api.gateway.proxy_protocol,
        "negotiate": api.gateway.negotiate,
    }
    # HTTP/2 is spoken over TLS 1.2 and newer (RFC 9113 section 9.2), and on connections that many clients share.
    newest = towards_upstreams(settings, api.proxy.transport)[0].maximum
    offers_h2 = settings.proxy_enable_http2 and newest >= TlsVersion.TLS1_2 and not api.gateway.proxy_protocol
    protocols = _PROTOCOLS | {"https": ("h2", "http/1.1") if offers_h2 else ("http/1.1",)}
    upstreams = []
    for index, target in enumerate(targets):
        tls, trouble = None, ""
        if target.scheme in {"https", "tls"}:
            tls, trouble = trust(settings, api, material, target.host, target.port)
        trouble = trouble or withheld
        spoken = protocols[target.scheme]
        upstreams.append(
            Upstream(
                key=f"{target.scheme} {target.host} {target.port} {spoken} {tls and tls.key} {trouble} {how}",
                name=f"{target.scheme}://{target.authority.decode()}",
                index=index,
                target=target,
                tls=tls,
                protocols=spoken,
                trouble=trouble,
                **how,
            )
        )
    return tuple(upstreams)


def _client_limits(api: ApiDefinition, limits: Limits) -> Limits | None:
    own = api.gateway.client_timeouts
    idle = api.gateway.timeouts.idle if api.is_service else 0
    changes = {
        "body_idle_timeout": own.body_idle, "write_idle_timeout": own.write_idle, "tunnel_idle_timeout": idle or None,
    }  # fmt: skip
    changes = {key: value for key, value in changes.items() if value is not None}
    return _plain(vars(limits) | changes) if changes else None


def _body_bytes(api: ApiDefinition, limits: Limits) -> int:
    """The API's own limit goes before the gateway's; Tyk's ``global_size_limit`` can only lower it, as in Tyk."""
    own = api.gateway.body_bytes
    version = effective_version(api)
    lower = version.global_size_limit if version is not None and not version.global_size_limit_disabled else 0
    return min((limit for limit in (limits.body_bytes if own is None else own, lower) if limit), default=0)
