"""Rules about what API definitions say of their clients: whom they let in, by which versions, under which TLS."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from gateway.config.material import sends_password
from gateway.config.own_ports import spoken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.config.definitions import ApiDefinition, ApiTls
    from gateway.config.problems import Findings
    from gateway.config.reading import Origin
    from gateway.config.settings import Settings


class Served(NamedTuple):
    """A definition that may be served, where its values come from, and what is ``found`` wrong with it."""

    definition: ApiDefinition
    origin: Origin
    found: Findings


_ANYBODY = (
    "is true, so whoever sits between here and the upstream can read and change everything",
    "name the upstream's own authority in gateway.upstream_tls.ca_file instead",
)


def check_settings(settings: Settings, origin: Origin, found: Findings) -> None:
    """Check what the main file says about all upstreams."""
    if settings.proxy_ssl_insecure_skip_verify:
        found.warning(origin.place("proxy_ssl_insecure_skip_verify"), *_ANYBODY)


def check(definition: ApiDefinition, origin: Origin, found: Findings) -> None:
    """Check an API definition on its own."""
    _check_address_lists(definition, origin, found)
    if ("proxy", "listen_path") not in origin.sources and origin.sound("proxy") and not definition.is_service:
        found.error(origin.place("proxy", "listen_path"), "is required and missing", "add it")
    targets = (definition.proxy.target_url, *definition.proxy.target_list)
    if definition.gateway.proxy_protocol and any(target.lower().startswith("h2c:") for target in targets):
        found.error(
            origin.place("gateway", "proxy_protocol"),
            "tells an upstream whose each connection is, and those to an h2c target are shared by all clients",
            "remove it, or make the target http",
        )
    _check_upstream_auth(definition, origin, found)
    _check_upstream_tls(definition, origin, found)
    if definition.proxy.transport.ssl_insecure_skip_verify:
        found.warning(origin.place("proxy", "transport", "ssl_insecure_skip_verify"), *_ANYBODY)
    data = definition.version_data
    if len(versions := data.versions) > 1:
        chosen = next((name for name in versions if name.lower() == "default"), "none")
        tell = found.warning if data.not_versioned else found.error
        tell(
            origin.place("version_data", "versions"),
            f"holds {len(versions)} versions, and an API has one here: {chosen} counts",
            "make an API of each version, or keep Default only",
        )


def _check_upstream_tls(definition: ApiDefinition, origin: Origin, found: Findings) -> None:
    proxy, own = definition.proxy, definition.gateway.upstream_tls
    asked = {
        ("upstream_certificates",): definition.upstream_certificates and not definition.upstream_certificates_disabled,
        ("pinned_public_keys",): definition.pinned_public_keys and not definition.certificate_pinning_disabled,
        ("gateway", "upstream_tls"): own.ca_file or own.server_name or own.certificate,
    }
    targets = proxy.target_list if proxy.enable_load_balancing else (proxy.target_url,)
    plain = [target for target in targets if target and not target.lower().startswith(("https:", "tls:"))]
    for keys in (keys for keys, value in asked.items() if value and plain):
        found.warning(
            origin.place(*keys),
            f"protects nothing on the way to {plain[0]}, with which no TLS is spoken",
            "make the target https, or tls where it is a service's",
        )


def _check_upstream_auth(definition: ApiDefinition, origin: Origin, found: Findings) -> None:
    basic = definition.upstream_auth.basic_auth
    keys = "upstream_auth", "basic_auth"
    if not sends_password(definition):
        return
    if definition.is_service:
        place = origin.place(*keys)
        found.error(place, "cannot be sent: a service sees no requests", "remove it, or make it an API of HTTP")
        return
    if (basic.password is None) == (basic.password_file is None):
        if origin.sound(*keys, "password_file"):
            cure = "write one of the two, better password_file"
            found.error(origin.place(*keys), "has to have either password or password_file", cure)
    elif ":" in basic.username:
        found.error(origin.place(*keys, "username"), "has a colon, which cannot be sent (RFC 7617)", "remove it")
    for target in (definition.proxy.target_url, *definition.proxy.target_list):
        url = urlsplit(target)
        if url.scheme != "https" and url.hostname not in {None, "localhost", "127.0.0.1", "::1"}:
            found.warning(
                origin.place(*keys),
                f"sends the password to {url.hostname} without encryption, where everybody on the way can read it",
                "make the target https",
            )


def _check_address_lists(definition: ApiDefinition, origin: Origin, found: Findings) -> None:
    off = definition.ip_access_control_disabled
    for switch, key in (("enable_ip_whitelisting", "allowed_ips"), ("enable_ip_blacklisting", "blacklisted_ips")):
        enforced = getattr(definition, switch) and not off
        listed = getattr(definition, key)
        if listed and not enforced:
            reason = "ip_access_control_disabled is true" if off else f"{switch} is false"
            found.warning(
                origin.place(key), f"is not enforced, as {reason}", "correct the switch, or remove the addresses"
            )
        elif enforced and not listed and origin.sound(key) and key == "allowed_ips":
            found.refusal(
                origin.place(switch),
                "is true, but allowed_ips is empty, which would let everybody in",
                "list the addresses and networks that may use the API",
            )
    if definition.enable_ip_whitelisting and not off and definition.gateway.allowed_networks:
        found.refusal(
            origin.place("gateway", "allowed_networks"),
            "stands beside allowed_ips, and only one list can say who may use the API",
            "keep one of the two",
        )


def check_client_certificates(definition: ApiDefinition, settings: Settings, origin: Origin, found: Findings) -> None:
    """Check what an API says of its clients' certificates: nothing that it asks for may be left undone."""
    listed = definition.client_certificates
    if not definition.use_mutual_tls_auth:
        if listed:
            # In Tyk it is off; who has not written that may believe that it is on.
            tell = found.warning if ("use_mutual_tls_auth",) in origin.sources else found.refusal
            tell(
                origin.place("client_certificates"),
                "names who may use the API, and use_mutual_tls_auth is not true, so nobody would be asked",
                "set use_mutual_tls_auth to true; or remove the list, if everybody may use the API",
            )
        return
    place = origin.place("use_mutual_tls_auth")
    if definition.protocol == "tcp" or definition.gateway.passthrough:
        found.refusal(
            place,
            "is true, and TLS does not end here, so that no client could be asked",
            "make it a tls service without gateway.passthrough, or let the upstream ask",
        )
    elif spoken(definition, settings) == "http":
        found.warning(
            place,
            "is true, and no TLS is spoken where the API is served, so every request gets 403",
            "set http_server_options.use_ssl to true, or protocol to https with a listen_port of its own",
        )
    if not listed and origin.sound("client_certificates") and not settings.security.certificates.apis:
        found.warning(
            place,
            "is true, and no certificate is listed, so nobody gets in",
            "list certificates or CAs in client_certificates",
        )


def check_host_policies(served: Sequence[Served], settings: Settings, *, uses_tls: bool) -> None:
    """Check that each TLS policy of a port belongs to one domain, and that the definitions of a domain agree on it."""
    said: dict[str, Served] = {}
    for one in served:
        definition, origin, found = one
        if not definition.gateway.tls.is_set:
            continue
        place = origin.place("gateway", "tls")
        domain = re.sub(r"^\{\w+\}\.", "*.", host(definition, settings))
        first, other, _ = said.setdefault(domain, one)
        if not uses_tls:
            found.warning(place, "is not used, as no TLS is spoken there", "set http_server_options.use_ssl to true")
        elif not domain or "{" in domain:
            found.error(
                place,
                "needs a domain of its own: it is chosen by the server name, before any path is known",
                "set domain to a host name, to *.example.com, or to {name}.example.com",
            )
        elif _effective(first.gateway.tls, settings) != _effective(definition.gateway.tls, settings):
            source = other.place("gateway", "tls").source
            found.error(
                place,
                f"{definition.api_id!r} and {first.api_id!r} ({source}) want different TLS for {domain}",
                "write it in one of them, for it holds for the whole domain",
            )


def _effective(own: ApiTls, settings: Settings) -> tuple[object, ...]:
    options = settings.http_server_options
    versions = own.min_version or options.min_version, own.max_version or options.max_version
    return *versions, own.ciphers or options.ssl_ciphers


def host(definition: ApiDefinition, settings: Settings) -> str:
    """The host that an API is served on; empty for any."""
    own = settings.enable_custom_domains and not definition.domain_disabled and definition.domain
    return (own or settings.hostname).lower().removesuffix(".")
