"""An API definition in Tyk's classic format: a domain and a path, and the upstream that serves them.

What a definition may not ask for is in `refusals`; rules that span several keys are in `rules`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from gateway.config.balancing import Balancing, HealthRules, Queue, UpstreamTimeouts
from gateway.config.header_kinds import HeaderLines, HeaderName  # noqa: TC001 - pydantic evaluates them
from gateway.config.kinds import (
    Bytes,
    CertificateReference,
    HostPattern,
    ListedTarget,
    ListenPath,
    Network,
    OptionalVersion,
    Section,
    SomeSeconds,
    Target,
    TrustReference,
)
from gateway.config.tyk_names import DEFINITION, names
from gateway.config.upstream_trust import PinnedKeys, ShownCertificates, UpstreamAuth, UpstreamTls
from gateway.config.uptime import UptimeTests

SERVICE_PROTOCOLS = frozenset({"tcp", "tls"})


class Transport(Section):
    """TLS towards the upstream of one API; what is not set follows the ``proxy_ssl_*`` settings."""

    tyk_only: ClassVar[frozenset[str]] = names(DEFINITION, "proxy.transport")

    ssl_insecure_skip_verify: bool = Field(default=False, description="accept any certificate from the upstream")
    ssl_min_version: OptionalVersion = Field(None, description="lowest TLS version; empty: `proxy_ssl_min_version`")
    ssl_max_version: OptionalVersion = Field(None, description="highest TLS version; empty: `proxy_ssl_max_version`")
    ssl_ciphers: tuple[str, ...] = Field((), description="cipher suites; empty: `proxy_ssl_ciphers`")
    ssl_force_common_name_check: bool = Field(
        default=False, description="the common name of the upstream's certificate must be its host"
    )


class Proxy(Section):
    """The way of a request to its upstream."""

    tyk_only: ClassVar[frozenset[str]] = names(DEFINITION, "proxy")

    listen_path: ListenPath = Field(
        "/",
        description="the path that the API answers, required; the longest that matches wins; services have none",
    )
    target_url: Target = Field(
        "",
        description="URL of the upstream: http, https, or h2c for HTTP/2 without TLS; of a service: `tcp://host:port`"
        " or `tls://host:port`",
    )
    strip_listen_path: bool = Field(default=False, description="forward the path without its `listen_path`")
    disable_strip_slash: bool = Field(
        default=False, description="keep the trailing slash of `target_url` when the forwarded path is empty"
    )
    preserve_host_header: bool = Field(default=False, description="forward the client's Host instead of the target's")
    enable_load_balancing: bool = Field(default=False, description="take turns over `target_list`")
    target_list: tuple[ListedTarget, ...] = Field(
        (), description="upstreams that take turns; without a scheme they are http, or as the `protocol` of the service"
    )
    check_host_against_uptime_tests: bool = Field(
        default=False, description="leave out targets whose host is down by `uptime_tests`; all down: 503"
    )
    transport: Transport = Field(Transport(), description="TLS towards the upstream")


class Version(Section):
    """What Tyk keeps in a version of an API, of which there is one here."""

    tyk_only: ClassVar[frozenset[str]] = names(DEFINITION, "version_data.versions.*")

    name: str = Field("", description="informational")
    global_headers: HeaderLines = Field({}, description="request fields to set; values are sent as they are")
    global_headers_remove: tuple[HeaderName, ...] = Field((), description="request fields to remove")
    global_headers_disabled: bool = Field(default=False, description="ignore both")
    global_response_headers: HeaderLines = Field({}, description="response fields to set")
    global_response_headers_remove: tuple[HeaderName, ...] = Field((), description="response fields to remove")
    global_response_headers_disabled: bool = Field(default=False, description="ignore both")
    global_size_limit: Bytes = Field(0, description="largest request body, if it is below the gateway's; 0: not set")
    global_size_limit_disabled: bool = Field(default=False, description="ignore `global_size_limit`")


class VersionData(Section):
    """The versions of an API in Tyk."""

    not_versioned: bool = Field(
        default=True, description="an API has one version here; false and several `versions` are an error"
    )
    default_version: str = Field("", description="informational")
    versions: dict[str, Version] = Field({}, description="one version, or several of which `Default` counts")


class HeaderRules(Section):
    """Changes to the header fields of a message: first `remove`, then `set`, then `add`."""

    set: HeaderLines = Field({}, description="fields and their values, in place of what came")
    add: HeaderLines = Field({}, description="fields and their values, beside what came")
    remove: tuple[HeaderName, ...] = Field((), description="names of fields")


class ApiTls(Section):
    """TLS with the clients of the API's domain; what is not set follows ``http_server_options``."""

    min_version: OptionalVersion = Field(None, description="lowest TLS version; empty: as for the whole gateway")
    max_version: OptionalVersion = Field(None, description="highest TLS version; empty: as for the whole gateway")
    ciphers: tuple[str, ...] = Field((), description="allowed suites, as in `ssl_ciphers`; empty: `ssl_ciphers`")

    @property
    def is_set(self) -> bool:
        """Whether it says anything."""
        return bool(self.min_version or self.max_version or self.ciphers)


class ClientTimeouts(Section):
    """Patience with the clients of an API; what is not set follows ``gateway.limits``."""

    body_idle: SomeSeconds | None = Field(None, description="longest pause within a request's body")
    write_idle: SomeSeconds | None = Field(None, description="longest time that a client takes nothing of a response")


class ApiGateway(Section):
    """What Tyk has no key for in an API definition."""

    tls: ApiTls = Field(ApiTls(), description="TLS with the clients of the API's domain, for all APIs of that domain")
    request_headers: HeaderRules = Field(HeaderRules(), description="changes to what the upstream gets")
    response_headers: HeaderRules = Field(HeaderRules(), description="changes to what the client gets of the upstream")
    allowed_networks: tuple[Network, ...] = Field(
        (), description="addresses and networks that may use the API, others get 403; empty: all"
    )
    blocked_networks: tuple[Network, ...] = Field((), description="addresses and networks that get 403")
    enable_websockets: bool | None = Field(
        None, description="as in `http_server_options`, for this API; empty: as there"
    )
    body_bytes: Bytes | None = Field(
        None, description="largest request body; 0: unlimited; empty: as for the whole gateway"
    )
    client_timeouts: ClientTimeouts = Field(ClientTimeouts(), description="patience with the clients")
    proxy_protocol: Literal["v1", "v2"] | None = Field(
        None, description="tell the upstream by the PROXY protocol whose each connection is: `v1` or `v2`"
    )
    passthrough: bool = Field(
        default=False,
        description="of a `tls` service: pass TLS on to the target as it comes, chosen by the server name alone",
    )
    negotiate: Literal["", "postgresql"] = Field(
        "", description="of a `tls` service: `postgresql`, whose clients ask for TLS in the words of that protocol"
    )
    allow_plain: bool = Field(
        default=False, description="with `negotiate`: take clients that do not ask for TLS, too; their data can be read"
    )
    upstream_tls: UpstreamTls = Field(UpstreamTls(), description="TLS towards the targets, beyond `proxy.transport`")
    client_cert_fields: Literal["certificate", "chain", "off"] = Field(
        "certificate",
        description="tell the upstream who asks, with `use_mutual_tls_auth`: `Client-Cert`, with `chain` also"
        " `Client-Cert-Chain` (RFC 9440)",
    )
    balancing: Balancing = Field(Balancing(), description="how requests are spread over the targets")
    health: HealthRules = Field(HealthRules(), description="when a target is left out for a while")
    queue: Queue = Field(Queue(), description="connections to a target, and who waits for one")
    timeouts: UpstreamTimeouts = Field(UpstreamTimeouts(), description="patience with the targets")


class ApiDefinition(Section):
    """One API."""

    tyk_only: ClassVar[frozenset[str]] = names(DEFINITION)

    name: str = Field("", description="what people call it; empty: its `api_id`")
    api_id: Annotated[str, Field(pattern=r"^[^\s/]+$")] = Field(
        description="its unique name, without spaces or slashes"
    )
    org_id: str = Field("", description="its owner; informational")
    active: bool = Field(default=True, description="false: not served")
    internal: bool = Field(default=False, description="true: not served, as nothing inside the gateway calls it")
    listen_port: int = Field(
        0,
        description="0 or the port of the gateway, which APIs share; or a port that is opened for it, or for several"
        " that agree on `protocol`; a service must have one",
    )
    protocol: str = Field(
        "",
        description="`http` or `https`: what is spoken on a `listen_port` of its own; empty: what the gateway's speaks;"
        " `tcp` or `tls`: a service, which passes bytes on",
    )
    enable_proxy_protocol: bool = Field(
        default=False,
        description="on a `listen_port` of its own: connections begin with the PROXY header that"
        " `gateway.proxy_protocol` describes",
    )
    domain: HostPattern = Field(
        "",
        description="`www.example.com`, `*.example.com`, `{name}.example.com`, `{name:regex}`; empty: any",
    )
    domain_disabled: bool = Field(default=False, description="ignore `domain` and `certificates`")
    certificates: tuple[CertificateReference, ...] = Field(
        (),
        repr=False,
        description="certificates of the domain: PEM files with key and chain, inline PEM, or ids of the store",
    )
    upstream_certificates: ShownCertificates = Field(
        {}, repr=False, description="as `security.certificates.upstream`, before which it goes if it has any match"
    )
    upstream_certificates_disabled: bool = Field(default=False, description="show no certificate to the targets")
    pinned_public_keys: PinnedKeys = Field(
        {}, repr=False, description="as `security.pinned_public_keys`, before which it goes if it has any match"
    )
    certificate_pinning_disabled: bool = Field(default=False, description="pin no public key of the targets")
    upstream_auth: UpstreamAuth = Field(UpstreamAuth(), description="credentials for the targets")
    use_mutual_tls_auth: bool = Field(
        default=False, description="serve only clients with one of `client_certificates`; others get 403"
    )
    client_certificates: tuple[TrustReference, ...] = Field(
        (),
        repr=False,
        description="certificates of clients, CAs of such, or public keys: PEM files, inline PEM, ids of the store",
    )
    use_keyless: bool = Field(
        default=False, description="must be true: this gateway has no access control for APIs yet"
    )
    proxy: Proxy = Field(description="the way to the upstream")
    version_data: VersionData = Field(VersionData(), description="rules that Tyk keeps by version")
    enable_ip_whitelisting: bool = Field(default=False, description="serve `allowed_ips` only; others get 403")
    allowed_ips: tuple[Network, ...] = Field((), description="addresses and networks that may use the API")
    enable_ip_blacklisting: bool = Field(default=False, description="refuse `blacklisted_ips` with 403")
    blacklisted_ips: tuple[Network, ...] = Field((), description="addresses and networks that may not")
    ip_access_control_disabled: bool = Field(default=False, description="ignore both lists")
    uptime_tests: UptimeTests = Field(UptimeTests(), description="hosts that are checked now and then")
    gateway: ApiGateway = Field(ApiGateway(), description="what Tyk has no key for")

    @property
    def is_service(self) -> bool:
        """Whether it passes bytes on, from a port of its own, instead of requests."""
        return self.protocol in SERVICE_PROTOCOLS

    @property
    def terminates_tls(self) -> bool:
        """True when a service, or an API with a port of its own, needs a certificate on every port that serves it."""
        if self.protocol == "https":
            return self.listen_port != 0
        return self.protocol == "tls" and not self.gateway.passthrough
