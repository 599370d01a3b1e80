"""Rules that span several keys, or several APIs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.config import definition_rules, own_ports, service_rules
from gateway.config.kinds import HIGHEST_DEFAULT, LOWEST_DEFAULT, VERSIONS
from gateway.config.settings import CONTROL_PORT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.config.definition_rules import Served
    from gateway.config.definitions import ApiDefinition
    from gateway.config.problems import Findings, Place
    from gateway.config.reading import Keys, Origin
    from gateway.config.settings import Settings

TYK_DEFAULT_SECRET = "352d20ee67be67f6340b4c0605b044b7"  # noqa: S105 - published, the reason to warn of it
_REFERENCES = ("env://", "file://", "secrets://", "consul://", "vault://")


def check_settings(settings: Settings, origin: Origin, found: Findings) -> None:
    """Check the main file on its own."""
    options = settings.http_server_options
    keys: tuple[Keys, Keys] = ("http_server_options", "min_version"), ("http_server_options", "max_version")
    _check_versions((options.min_version, options.max_version), origin, keys, found)
    low, high = settings.proxy_ssl_min_version, settings.proxy_ssl_max_version
    keys = ("proxy_ssl_min_version",), ("proxy_ssl_max_version",)
    _check_versions((low or LOWEST_DEFAULT, high or HIGHEST_DEFAULT), origin, keys, found)
    _check_ports(settings, origin, found)
    _check_secrets(settings, origin, found)
    if options.xff_depth and not settings.gateway.trusted_proxies:
        found.warning(
            origin.place("http_server_options", "xff_depth"),
            "has no effect: only trusted proxies are believed, and there are none",
            "list the proxies in front of the gateway in gateway.trusted_proxies",
        )
    _check_control_tls(settings, origin, found)
    definition_rules.check_settings(settings, origin, found)
    if settings.gateway.http_redirect and not options.use_ssl:
        found.warning(
            origin.place("gateway", "http_redirect"),
            "sends clients to HTTPS, which is not served as http_server_options.use_ssl is false",
            "set http_server_options.use_ssl to true",
        )


def _check_versions(bounds: tuple[int, int], origin: Origin, keys: tuple[Keys, Keys], found: Findings) -> None:
    """Check that a range of TLS versions holds one; a bound that is not written has its default."""
    low, high = bounds
    if low > high:
        written = next((key for key in keys if key in origin.sources), keys[0])
        found.error(
            origin.place(*written),
            f"leaves no TLS version: the lowest is {VERSIONS[low]} and the highest {VERSIONS[high]}",
            f"write both {keys[0][-1]} and {keys[1][-1]}, the lower one first",
        )


def _check_ports(settings: Settings, origin: Origin, found: Findings) -> None:
    taken = {settings.listen_port: "listen_port"}
    ports: list[tuple[int, Keys]] = [(settings.control_api_port or CONTROL_PORT, ("control_api_port",))]
    if not settings.control_api_port:
        found.note(
            origin.place("control_api_port"),
            f"is 0, by which Tyk's control API shares listen_port; here it has a port of its own, {CONTROL_PORT}",
            f"let what asks for /hello and /tyk/ ask that port, on {settings.gateway.control_address}",
        )
    if redirect := settings.gateway.http_redirect:
        ports.append((redirect.port, ("gateway", "http_redirect", "port")))
    for port, keys in ports:
        place = origin.place(*keys)
        if (first := taken.setdefault(port, place.path)) != place.path:
            found.error(place, f"the port {port} is already that of {first}", "give each a port of its own")


def _check_control_tls(settings: Settings, origin: Origin, found: Findings) -> None:
    control, security = settings.gateway.control_tls, settings.security
    if security.control_api_use_mutual_tls:
        place = origin.place("security", "control_api_use_mutual_tls")
        if control is None:
            found.error(
                place, "is true, and the control port has no TLS", "name its certificate in gateway.control_tls"
            )
        if not security.certificates.control_api and origin.sound("security", "certificates", "control_api"):
            cure = "list certificates or CAs in security.certificates.control_api"
            found.warning(place, "is true, and no certificate is listed, so nobody can use the control port", cure)
    if control is None:
        return
    keys = "gateway", "control_tls"
    if (control.certificate is None) == (not control.domain):
        if all(origin.sound(*keys, key) for key in ("certificate", "domain")):
            cure = "write one of the two: a certificate, or a domain that has one"
            found.error(origin.place(*keys), "has to name either certificate or domain", cure)
    elif "{" in control.domain:
        found.error(origin.place(*keys, "domain"), "is a pattern", "write one name, such as admin.example.com")


def _check_secrets(settings: Settings, origin: Origin, found: Findings) -> None:
    secret = settings.secret.get_secret_value() if settings.secret else ""
    if secret == TYK_DEFAULT_SECRET:
        found.warning(
            origin.place("secret"),
            "is the default that Tyk publishes, so everybody knows it",
            "write one of your own, or remove the key: one is then made and kept in gateway.data_dir",
        )
    elif secret.startswith(_REFERENCES):
        found.error(
            origin.place("secret"),
            "is a reference to a secret kept elsewhere, which is not followed here",
            "set the secret itself, best in the variable TYK_GW_SECRET",
        )
    for index, pair in enumerate(settings.http_server_options.certificates):
        if pair.passphrase and pair.passphrase_file:
            found.error(
                origin.place("http_server_options", "certificates", index, "passphrase"),
                "stands beside passphrase_file, and only one of them can be meant",
                "remove one, better passphrase",
            )


def check_alone(served: Served, settings: Settings) -> None:
    """Check an API definition on its own and against the settings."""
    definition, origin, found = served
    _check_definition(definition, settings, origin, found)
    definition_rules.check(definition, origin, found)
    definition_rules.check_client_certificates(definition, settings, origin, found)
    if definition.is_service or own_ports.own_port(definition, settings):
        own_ports.check_alone(served, settings)
    if definition.is_service:
        service_rules.check_alone(served)
    else:
        _check_api(definition, settings, origin, found)


def check_together(served: Sequence[Served], settings: Settings) -> None:
    """Check API definitions against each other. Of two that do not fit together the later one has the problem."""
    apis = [one for one in served if not one.definition.is_service]
    _check_names(served)
    _check_routes(apis, settings)
    ports: dict[int, list[Served]] = {}
    for one in apis:
        ports.setdefault(own_ports.own_port(one.definition, settings), []).append(one)
    for sharing in ports.values():
        uses_tls = own_ports.spoken(sharing[0].definition, settings) == "https"
        definition_rules.check_host_policies(sharing, settings, uses_tls=uses_tls)
    own_ports.check_together(served, settings)
    service_rules.check_together([one for one in served if one.definition.is_service], settings)


def check_all(apis: Sequence[ApiDefinition], settings: Settings, origin: Origin, found: Findings) -> None:
    """Check what the settings say against all the API definitions that are served."""
    options = settings.http_server_options
    general = any((options.certificates, options.ssl_certificates))
    if any(one.terminates_tls for one in apis):
        general = False  # they serve that one
    there = any(one.certificates for one in apis if not one.is_service and not one.terminates_tls)
    if (general or there) and not options.use_ssl:
        found.warning(
            origin.place("http_server_options", "use_ssl"),
            "is false, so the certificates are not used and clients are served without TLS",
            "set http_server_options.use_ssl to true",
        )


def _check_api(definition: ApiDefinition, settings: Settings, origin: Origin, found: Findings) -> None:
    """Check what makes a definition one of requests."""
    if definition.protocol not in {"", "http", "https"}:
        place = origin.place("protocol")
        cure = "remove it: APIs are http or https, services tcp or tls"
        found.error(place, f"{definition.protocol!r} is not supported", cure)
    for key in ("target_url", "target_list"):
        targets = getattr(definition.proxy, key)
        for target in (targets,) if isinstance(targets, str) else targets:
            if target.lower().startswith(("tcp://", "tls://")):
                place, cure = origin.place("proxy", key), "write protocol: tcp, or protocol: tls, and a listen_port"
                found.error(place, "is neither http nor https: bytes are for services", cure)
    own = definition.gateway
    for key in (key for key in ("passthrough", "negotiate", "allow_plain") if getattr(own, key)):
        found.error(origin.place("gateway", key), "is for tls services", "write protocol: tls, or remove it")
    usual = own_ports.spoken(definition, settings)
    if definition.protocol in {"http", "https"} and definition.protocol != usual:
        place = origin.place("protocol")
        cure = "write a listen_port of its own, or set http_server_options.use_ssl"
        found.warning(place, f"is not used: the port of the gateway speaks {usual}", cure)
    if definition.enable_proxy_protocol and not own_ports.own_port(definition, settings):
        found.warning(
            origin.place("enable_proxy_protocol"),
            "is not used: on the port of the gateway gateway.proxy_protocol says it for all APIs",
            "remove it",
        )


def _check_definition(definition: ApiDefinition, settings: Settings, origin: Origin, found: Findings) -> None:
    """Check what every definition may say."""
    if definition.domain and not settings.enable_custom_domains:
        found.warning(
            origin.place("domain"),
            "is not used, as enable_custom_domains is false",
            "set enable_custom_domains to true",
        )
    proxy, transport = definition.proxy, definition.proxy.transport
    if proxy.enable_load_balancing:
        if not proxy.target_list and origin.sound("proxy", "target_list"):
            place = origin.place("proxy", "target_list")
            found.error(place, "is empty, but enable_load_balancing is true", "list the targets")
    elif not proxy.target_url and origin.sound("proxy", "target_url"):
        example = "tcp://host:port" if definition.is_service else "http://host:port/"
        found.error(origin.place("proxy", "target_url"), "is required and missing", f"write {example}")
    if proxy.check_host_against_uptime_tests and not definition.uptime_tests.check_list:
        found.warning(
            origin.place("proxy", "check_host_against_uptime_tests"),
            "has no effect, as uptime_tests.check_list is empty",
            "list what shall be checked",
        )
    weights = definition.gateway.balancing.weights
    if weights and len(weights) != len(proxy.target_list) and origin.sound("proxy", "target_list"):
        found.error(
            origin.place("gateway", "balancing", "weights"),
            f"has {len(weights)} weights for {len(proxy.target_list)} targets",
            "write one for each of proxy.target_list, in its order",
        )
    if transport.ssl_min_version or transport.ssl_max_version:
        low = transport.ssl_min_version or settings.proxy_ssl_min_version or LOWEST_DEFAULT
        high = transport.ssl_max_version or settings.proxy_ssl_max_version or HIGHEST_DEFAULT
        section = ("proxy", "transport")
        keys: tuple[Keys, Keys] = (*section, "ssl_min_version"), (*section, "ssl_max_version")
        _check_versions((low, high), origin, keys, found)
    tls, options = definition.gateway.tls, settings.http_server_options
    if tls.is_set:
        keys = ("gateway", "tls", "min_version"), ("gateway", "tls", "max_version")
        bounds = tls.min_version or options.min_version, tls.max_version or options.max_version
        _check_versions(bounds, origin, keys, found)


def _check_names(served: Sequence[Served]) -> None:
    names: dict[str, Place] = {}
    for definition, origin, found in served:
        name, place = definition.api_id, origin.place("api_id")
        if (first := names.setdefault(name, place)) is not place:
            found.error(place, f"the api_id {name!r} is already taken ({first.source})", "give each API its own")


def _check_routes(apis: Sequence[Served], settings: Settings) -> None:
    """Check that no two APIs have the same place."""
    routes: dict[tuple[int, str, str], tuple[str, Place]] = {}
    for definition, origin, found in apis:
        name, place = definition.api_id, origin.place("proxy", "listen_path")
        host = definition_rules.host(definition, settings)
        route = own_ports.own_port(definition, settings), host, definition.proxy.listen_path
        other, taken = routes.setdefault(route, (name, place))
        if taken is not place:
            found.error(
                place,
                f"{name!r} and {other!r} ({taken.source}) are both {route[2]} on {host or 'any host'}",
                "change the domain or the listen_path of one of them",
            )
