"""The settings of the gateway: the keys of ``tyk.conf`` that it obeys, and its own in ``gateway``.

Each description is the meaning in docs/configuration.md. Times are seconds, sizes are bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from gateway.config.expiry import ExpiryMonitor
from gateway.config.kinds import (
    BindAddress,
    Bytes,
    CertificateReference,
    Count,
    HighestVersion,
    HostPattern,
    LogPath,
    LowestVersion,
    Network,
    OptionalVersion,
    Port,
    Seconds,
    Secret,
    Section,
    SiteName,
    SomeCount,
    SomeSeconds,
    port_or,
)
from gateway.config.tyk_names import MAIN_FILE, names
from gateway.config.upstream_trust import CertificatesOfSecurity, PinnedKeys
from gateway.config.uptime import UptimeSettings

CONTROL_PORT = 9696
"""The control port where none is written."""


class CertificateFiles(Section):
    """A certificate and its key in files."""

    domain_name: SiteName = Field(
        "",
        description="the domain it is for; empty: the names in the certificate; `*`: whoever matches nothing, too",
    )
    cert_file: Path = Field(description="PEM file of the certificate; its chain may follow in the same file")
    key_file: Path = Field(description="PEM file of the private key; the same file for a bundle of both")
    chain_file: Path | None = Field(None, description="PEM file of the intermediates, if not in `cert_file`")
    passphrase: Secret = Field(None, description="opens an encrypted key; better kept in `passphrase_file`")
    passphrase_file: Path | None = Field(None, description="file whose first line opens an encrypted key")


class HttpServerOptions(Section):
    """How the gateway meets its clients."""

    tyk_only: ClassVar[frozenset[str]] = names(MAIN_FILE, "http_server_options")

    use_ssl: bool = Field(default=False, description="serve HTTPS on `listen_port`")
    server_name: SiteName = Field(
        "",
        description="the site for clients that send no server name or an unknown one; empty or `*`: the"
        " certificate whose `domain_name` is `*`, else the first",
    )
    min_version: LowestVersion = Field(771, description="lowest TLS version: 769-772 or '1.0'-'1.3'")
    max_version: HighestVersion = Field(772, description="highest TLS version: 769-772 or '1.0'-'1.3'")
    certificates: tuple[CertificateFiles, ...] = Field((), description="certificates as pairs of files")
    ssl_certificates: tuple[CertificateReference, ...] = Field(
        (),
        repr=False,
        description="certificates as PEM bundles with key and chain: a file each, inline PEM, or an id of the store",
    )
    ssl_ciphers: tuple[str, ...] = Field(
        (),
        description="allowed suites: IANA names, OpenSSL names or OpenSSL cipher strings; empty: modern ones",
    )
    prefer_server_ciphers: bool = Field(
        default=True, description="choose by the order of `ssl_ciphers` instead of by the client's"
    )
    enable_http2: bool = Field(default=True, description="speak HTTP/2 with clients that offer it (ALPN), over TLS")
    read_timeout: Seconds = Field(0, description="time for reading a whole request; 0: `gateway.limits` decide")
    write_timeout: Seconds = Field(0, description="time for writing a whole response; 0: `gateway.limits` decide")
    max_request_body_size: Bytes = Field(0, description="largest request body; 0: `gateway.limits.body_bytes`")
    xff_depth: Count = Field(
        0, description="behind trusted proxies the client is this entry from the right; 0: the last that is no proxy"
    )
    enable_websockets: bool = Field(
        default=True, description="let clients and upstreams switch to WebSocket or to another protocol"
    )
    skip_client_ca_announcement: bool = Field(
        default=False, description="ask for client certificates without saying of which issuers"
    )
    skip_url_cleaning: bool = Field(default=False, description="route paths as they come, with `//` and `..` in them")
    enable_strict_routes: bool = Field(
        default=False, description="`/app` matches `/app` and `/app/...`, no longer `/apple`"
    )


class Limits(Section):
    """What one client, one upstream or one worker may take."""

    tls_handshake_timeout: SomeSeconds = Field(10, description="time for a TLS handshake, ClientHello included")
    request_head_timeout: SomeSeconds = Field(
        10, description="time for a request's head; the first one's begins with the connection"
    )
    body_idle_timeout: SomeSeconds = Field(30, description="longest pause within a request's body")
    write_idle_timeout: SomeSeconds = Field(60, description="longest time that a client takes nothing of a response")
    keep_alive_timeout: SomeSeconds = Field(60, description="longest pause between two requests of a connection")
    requests_per_connection: SomeCount = Field(
        1000, description="requests on one HTTP/1.1 connection before it is closed"
    )
    http2_streams: SomeCount = Field(100, description="requests at the same time on one HTTP/2 connection")
    head_bytes: SomeCount = Field(16384, description="largest head of a request")
    head_fields: SomeCount = Field(100, description="most fields in the head of a request")
    body_bytes: Bytes = Field(10485760, description="largest request body; 0: unlimited")
    connections_per_worker: SomeCount = Field(10000, description="client connections of one worker")
    connections_per_address: SomeCount = Field(
        1000, description="client connections from one IPv4 address or IPv6 network of 64 bits, per worker"
    )
    upstream_connect_timeout: SomeSeconds = Field(5, description="time for connecting to an upstream, TLS included")
    upstream_response_timeout: SomeSeconds = Field(30, description="time until an upstream answers with a head")
    upstream_idle_timeout: SomeSeconds = Field(
        60, description="longest pause in a response; life of an idle connection"
    )
    upstream_head_bytes: SomeCount = Field(65536, description="largest head of a response")
    upstream_head_fields: SomeCount = Field(256, description="most fields in the head of a response")
    upstream_dns_interval: SomeSeconds = Field(
        30, description="time after which the name of an upstream is looked up again"
    )
    tunnel_idle_timeout: SomeSeconds = Field(
        3600, description="longest time that nothing passes through a WebSocket or another tunnel"
    )
    drain_timeout: SomeSeconds = Field(30, description="time that running requests have when the gateway stops")
    key_service_timeout: SomeSeconds = Field(5, description="time for AWS KMS to connect, and to answer")
    active_sites: SomeCount = Field(10000, description="TLS sites that a worker keeps in memory")


class GatewayTls(Section):
    """TLS beyond Tyk's keys."""

    strict_sni: bool = Field(
        default=False, description="refuse unknown server names instead of serving the default site"
    )


class AccessLog(Section):
    """One line per request. One word (`access_log: off`) sets the format."""

    shorthand: ClassVar[str] = "format"

    format: Literal["json", "common", "off"] = Field("json", description="`json`, `common` or `off`")
    path: LogPath = Field("stdout", description="`stdout`, or a file")


class HttpRedirect(Section):
    """A plain HTTP port that sends everybody to HTTPS."""

    port: Port = Field(description="the port that redirects")
    https_port: Port | None = Field(
        None, description="the port that clients are sent to, where it is not the gateway's own; empty: `listen_port`"
    )
    hsts_max_age: Count = Field(0, description="`max-age` of Strict-Transport-Security on HTTPS answers; 0: not sent")


class ControlTls(Section):
    """HTTPS on the control port. One word is the `certificate`."""

    shorthand: ClassVar[str] = "certificate"

    certificate: CertificateReference | None = Field(
        None, repr=False, description="PEM bundle with key and chain: a file, inline PEM, or an id of the store"
    )
    domain: HostPattern = Field(
        "", description="instead of `certificate`: the domain whose certificate is shown, whichever that is at the time"
    )


class AdminSessions(Section):
    """How long an administrator stays logged in."""

    idle_timeout: SomeSeconds = Field(1800, description="time without a call after which a session is over")
    lifetime: SomeSeconds = Field(43200, description="time after which a session is over in any case")


class ProxyProtocol(Section):
    """Connections that a load balancer hands on with a PROXY header (version 1 or 2) before anything else."""

    proxies: tuple[Network, ...] = Field(
        min_length=1, description="addresses and networks that must send the header, and are believed"
    )
    others: Literal["refuse", "serve"] = Field(
        "refuse", description="what happens to connections from elsewhere, which may not send one"
    )
    timeout: SomeSeconds = Field(5, description="time for the header")


class GatewaySection(Section):
    """What Tyk has no key for."""

    workers: Count = Field(0, description="worker processes; 0: one per core")
    strict: bool = Field(
        default=False,
        description="refuse a start, and a reload, for any error in an API definition or with a port of its own, where"
        " otherwise only that API is out of service",
    )
    data_dir: Path = Field(Path("data"), description="directory of the gateway's own state")
    certificates_dir: Path | None = Field(
        None,
        description="directory of `*.pem` bundles and `name.crt` + `name.key`; empty: `certs` beside the main file",
    )
    control_address: BindAddress = Field("127.0.0.1", description="address of the control port")
    control_tls: ControlTls | None = Field(
        None, repr=False, description="HTTPS on the control port; none: plain HTTP, whatever `use_ssl` says"
    )
    ca_certificates: dict[str, CertificateReference] = Field(
        {}, description="authorities that are trusted beside the system's, by names of your own: files, or inline PEM"
    )
    admin_sessions: AdminSessions = Field(AdminSessions(), description="how long an administrator stays logged in")
    limits: Limits = Field(Limits(), description="what a client, an upstream or a worker may take")
    trusted_proxies: tuple[Network, ...] = Field(
        (), description="addresses and networks whose forwarding fields are believed"
    )
    forwarded: Literal["x-forwarded", "forwarded", "both"] = Field(
        "x-forwarded",
        description="forwarding fields that are believed and sent: `X-Forwarded-*`, `Forwarded`, or `both`",
    )
    proxy_protocol: ProxyProtocol | None = Field(
        None, description="who says whose connection it brings, on `listen_port` and on the port that redirects"
    )
    via: Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]*$")] = Field(
        "gateway",
        description="what the gateway calls itself in the `Via` field of requests to upstreams; empty: no such field",
    )
    client_crls: tuple[Path, ...] = Field(
        (), description="revocation lists of the CAs of client certificates: PEM or DER files"
    )
    expired_client_crls: Literal["refuse", "use"] = Field(
        "refuse",
        description="when a revocation list is past its `nextUpdate`: `refuse` all certificates of its CA, or `use` it",
    )
    tls: GatewayTls = Field(GatewayTls(), description="TLS beyond Tyk's keys")
    access_log: AccessLog = Field(AccessLog(), description="one line per request")
    http_redirect: HttpRedirect | None = Field(None, description="a plain HTTP port that sends everybody to HTTPS")


class Security(Section):
    """Certificates and keys that Tyk keeps in one place, whatever they are for."""

    tyk_only: ClassVar[frozenset[str]] = names(MAIN_FILE, "security")

    certificates: CertificatesOfSecurity = Field(CertificatesOfSecurity(), description="by what they are for")
    control_api_use_mutual_tls: bool = Field(
        default=False,
        description="let only clients with a certificate of `certificates.control_api` use the control port",
    )
    certificate_expiry_monitor: ExpiryMonitor = Field(ExpiryMonitor(), description="when ends of certificates are told")
    pinned_public_keys: PinnedKeys = Field(
        {},
        repr=False,
        description="public keys that upstreams may have, by host as in `certificates.upstream`: ids, PEM files, inline"
        " PEM or SHA-256 in hex; one or several, with commas",
    )


class AllowedPorts(Section):
    """The ports that definitions of one protocol may open."""

    ports: tuple[int, ...] = Field((), description="single ports")
    ranges: tuple[dict[Literal["from", "to"], int], ...] = Field(
        (), description="first and last port of each range: `from` and `to`"
    )

    def allow(self, port: int) -> bool:
        """Return whether a port is in the list or in one of the ranges."""
        return port in self.ports or any(one.get("from", 0) <= port <= one.get("to", 0) for one in self.ranges)


class Settings(Section):
    """The main file."""

    tyk_only: ClassVar[frozenset[str]] = names(MAIN_FILE)

    listen_address: BindAddress = Field("", description="address to listen on; empty: all")
    listen_port: Annotated[Port, port_or(8080)] = Field(8080, description="port to listen on")
    control_api_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        CONTROL_PORT,
        description=f"port of `/hello`, `/ready` and the admin API, which never share `listen_port`; 0: {CONTROL_PORT}",
    )
    secret: Secret = Field(None, description="key of the admin API; empty: one is made and kept in `gateway.data_dir`")
    app_path: Path | None = Field(
        None, description="directory of API definitions; empty: `apps` beside a main file without `apis`"
    )
    ports_whitelist: dict[str, AllowedPorts] = Field(
        {}, description="ports that definitions may open, by their `protocol`; empty: all"
    )
    disable_ports_whitelist: bool = Field(default=False, description="ignore `ports_whitelist`")
    enable_custom_domains: bool = Field(default=True, description="route by the `domain` of API definitions")
    hostname: HostPattern = Field("", description="host of the APIs that have no `domain`; empty: any")
    close_connections: bool = Field(default=False, description="close each client connection after one request")
    proxy_default_timeout: Seconds = Field(
        0, description="time for an upstream to connect and to answer with a head; 0: `gateway.limits` decide"
    )
    proxy_enable_http2: bool = Field(
        default=False, description="offer HTTP/2 to https upstreams; `h2c://` targets speak it in any case"
    )
    proxy_ssl_insecure_skip_verify: bool = Field(
        default=False, description="accept any certificate from https upstreams"
    )
    proxy_ssl_min_version: OptionalVersion = Field(None, description="lowest TLS version to upstreams; empty: 771")
    proxy_ssl_max_version: OptionalVersion = Field(None, description="highest TLS version to upstreams; empty: 772")
    proxy_ssl_ciphers: tuple[str, ...] = Field((), description="cipher suites to upstreams; names as in `ssl_ciphers`")
    proxy_ssl_disable_renegotiation: bool = Field(
        default=False, description="let no https upstream negotiate TLS anew on a connection (TLS 1.2 and older)"
    )
    ssl_force_common_name_check: bool = Field(
        default=False, description="the common name of an upstream's certificate must be its host, too"
    )
    max_idle_connections_per_host: Count = Field(
        0, description="idle connections that a worker keeps to one upstream address; 0: 100"
    )
    graceful_shutdown_timeout_duration: Seconds = Field(
        0, description="time that running requests have at the end; 0: `gateway.limits.drain_timeout`"
    )
    graceful_shutdown_delay_seconds: Seconds = Field(
        0, description="time to serve on at the end, with `/ready` at 503, before the ports are closed"
    )
    pid_file_location: Path | None = Field(None, description="file that holds the supervisor's process id; empty: none")
    uptime_tests: UptimeSettings = Field(UptimeSettings(), description="checks of the hosts of all APIs")
    security: Security = Field(Security(), description="certificates and keys by what they are for")
    http_server_options: HttpServerOptions = Field(HttpServerOptions(), description="how the gateway meets clients")
    gateway: GatewaySection = Field(GatewaySection(), description="what Tyk has no key for")

    def allows_port(self, protocol: str, port: int) -> bool:
        """Return whether a definition of that protocol may open this port for itself."""
        if self.disable_ports_whitelist or not self.ports_whitelist:
            return True
        allowed = self.ports_whitelist.get(protocol)
        return allowed is not None and allowed.allow(port)
