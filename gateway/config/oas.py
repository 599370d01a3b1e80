"""Tyk's format of today: an OpenAPI document whose section ``x-tyk-api-gateway`` says how the API is served.

Keys with a counterpart in the classic format become a classic definition, which is then handled like any other;
problems keep the names of the document. Other keys are refused, noted or ignored as in `tyk_names`. The document's own
``paths`` and ``servers`` describe the API, and restrict nothing in Tyk either.

Source: Tyk's ``apidef/oas``, whose fields name their classic counterparts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.config import tyk_names
from gateway.config.node import Node, Word, asks_for_nothing
from gateway.config.problems import Findings, Place
from gateway.config.reading import Keys, dotted, nearest
from gateway.config.tyk_names import IGNORED, Fate, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

EXTENSION = "x-tyk-api-gateway"

_VERSION = "version_data.versions.Default"
_UNIT = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|ms|us|µs|ns|m|s)")


@dataclass(frozen=True, slots=True)
class _Counterpart:
    """The place of an extension's key in a classic definition, and the change of its value on the way."""

    keys: tuple[str, ...]
    change: Callable[[Node], Node] = lambda node: node


def _negated(node: Node) -> Node:
    """Turn ``enabled`` into the classic ``disabled``; a value that is no switch stays, to be reported."""
    return Node(asks_for_nothing(node), node.source, node.base) if isinstance(node.value, bool | Word) else node


def _pairs(name: str, content: str) -> Callable[[Node], Node]:
    """Turn a list of sections with a name and a content into a mapping."""

    def mapping(node: Node) -> Node:
        if not isinstance(node.value, list):
            return node
        found: dict[str, Node] = {}
        for item in node.value:
            members = _members(item)
            key, value = members.get(name), members.get(content)
            if key is not None and value is not None:
                found[str(key.value)] = value
        return Node(found, node.source, node.base)

    return mapping


def _checks(node: Node) -> Node:
    """Turn uptime tests into classic ones, whose timeouts are seconds here."""
    if not isinstance(node.value, list):
        return node
    tests = []
    for item in node.value:
        members = _members(item)
        if "enableproxyprotocol" in members:
            members["enable_proxy_protocol"] = members.pop("enableproxyprotocol")
        if "timeout" in members:
            members["timeout"] = _seconds(members["timeout"])
        tests.append(Node(members, item.source, item.base))
    return Node(tests, node.source, node.base)


def _seconds(node: Node) -> Node:
    """Turn a duration such as 1m30s into seconds; a value that is no duration stays, to be reported."""
    text = str(node.value)
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return node
    return Node(sum(float(number) * _UNIT[unit] for number, unit in parts), node.source, node.base)


def _to(path: str, change: Callable[[Node], Node] = lambda node: node) -> _Counterpart:
    return _Counterpart(tuple(path.split(".")), change)


_COUNTERPARTS: Mapping[str, _Counterpart] = {
    "info.id": _to("api_id"),
    "info.orgId": _to("org_id"),
    "info.name": _to("name"),
    "info.state.active": _to("active"),
    "info.state.internal": _to("internal"),
    "upstream.url": _to("proxy.target_url"),
    "upstream.loadBalancing.enabled": _to("proxy.enable_load_balancing"),
    "upstream.loadBalancing.skipUnavailableHosts": _to("proxy.check_host_against_uptime_tests"),
    "upstream.loadBalancing.targets": _to("proxy.target_list"),
    "upstream.preserveHostHeader.enabled": _to("proxy.preserve_host_header"),
    "upstream.preserveTrailingSlash.enabled": _to("proxy.disable_strip_slash"),
    "upstream.tlsTransport.insecureSkipVerify": _to("proxy.transport.ssl_insecure_skip_verify"),
    "upstream.tlsTransport.ciphers": _to("proxy.transport.ssl_ciphers"),
    "upstream.tlsTransport.minVersion": _to("proxy.transport.ssl_min_version"),
    "upstream.tlsTransport.maxVersion": _to("proxy.transport.ssl_max_version"),
    "upstream.tlsTransport.forceCommonNameCheck": _to("proxy.transport.ssl_force_common_name_check"),
    "upstream.mutualTLS.enabled": _to("upstream_certificates_disabled", _negated),
    "upstream.mutualTLS.domainToCertificateMapping": _to("upstream_certificates", _pairs("domain", "certificate")),
    "upstream.certificatePinning.enabled": _to("certificate_pinning_disabled", _negated),
    "upstream.certificatePinning.domainToPublicKeysMapping": _to("pinned_public_keys", _pairs("domain", "publickeys")),
    "upstream.authentication.enabled": _to("upstream_auth.enabled"),
    "upstream.authentication.basicAuth.enabled": _to("upstream_auth.basic_auth.enabled"),
    "upstream.authentication.basicAuth.username": _to("upstream_auth.basic_auth.username"),
    "upstream.authentication.basicAuth.password": _to("upstream_auth.basic_auth.password"),
    "upstream.authentication.basicAuth.header.enabled": _to("upstream_auth.basic_auth.header.enabled"),
    "upstream.authentication.basicAuth.header.name": _to("upstream_auth.basic_auth.header.name"),
    "upstream.uptimeTests.enabled": _to("uptime_tests.disabled", _negated),
    "upstream.uptimeTests.tests": _to("uptime_tests.check_list", _checks),
    "server.listenPath.value": _to("proxy.listen_path"),
    "server.listenPath.strip": _to("proxy.strip_listen_path"),
    "server.clientCertificates.enabled": _to("use_mutual_tls_auth"),
    "server.clientCertificates.allowlist": _to("client_certificates"),
    "server.customDomain.enabled": _to("domain_disabled", _negated),
    "server.customDomain.name": _to("domain"),
    "server.customDomain.certificates": _to("certificates"),
    "server.ipAccessControl.enabled": _to("ip_access_control_disabled", _negated),
    "server.ipAccessControl.allow": _to("allowed_ips"),
    "server.ipAccessControl.block": _to("blacklisted_ips"),
    "server.protocol": _to("protocol"),
    "server.port": _to("listen_port"),
    "middleware.global.transformRequestHeaders.enabled": _to(f"{_VERSION}.global_headers_disabled", _negated),
    "middleware.global.transformRequestHeaders.remove": _to(f"{_VERSION}.global_headers_remove"),
    "middleware.global.transformRequestHeaders.add": _to(f"{_VERSION}.global_headers", _pairs("name", "value")),
    "middleware.global.transformResponseHeaders.enabled": _to(f"{_VERSION}.global_response_headers_disabled", _negated),
    "middleware.global.transformResponseHeaders.remove": _to(f"{_VERSION}.global_response_headers_remove"),
    "middleware.global.transformResponseHeaders.add": _to(
        f"{_VERSION}.global_response_headers", _pairs("name", "value")
    ),
    "middleware.global.requestSizeLimit.enabled": _to(f"{_VERSION}.global_size_limit_disabled", _negated),
    "middleware.global.requestSizeLimit.value": _to(f"{_VERSION}.global_size_limit"),
    "gateway": _to("gateway"),
}

# By the classic key whose reason is the reason here; EP are the classic endpoints.
_REFUSED = """
    info.expiration=expiration info.versioning=definition.enabled
    upstream.serviceDiscovery=proxy.service_discovery.use_discovery_service upstream.rateLimit=global_rate_limit
    upstream.uptimeTests.serviceDiscovery=proxy.service_discovery.use_discovery_service
    upstream.authentication.oauth=upstream_auth.oauth.enabled
    upstream.authentication.requestSigning=request_signing.is_enabled upstream.proxy=proxy.transport.proxy_url
    upstream.enforce_timeout=global_enforce_timeout upstream.enforceTimeout=global_enforce_timeout
    server.authentication=use_standard_auth
    middleware.global.cors=cors middleware.global.pluginConfig.bundle=custom_middleware_bundle
    middleware.global.prePlugin=custom_middleware.pre middleware.global.prePlugins=custom_middleware.pre
    middleware.global.postAuthenticationPlugin=custom_middleware.post_key_auth
    middleware.global.postAuthenticationPlugins=custom_middleware.post_key_auth
    middleware.global.postPlugin=custom_middleware.post middleware.global.postPlugins=custom_middleware.post
    middleware.global.responsePlugin=custom_middleware.response
    middleware.global.responsePlugins=custom_middleware.response
    middleware.mcpTools=EP.white_list middleware.mcpResources=EP.white_list middleware.mcpPrompts=EP.white_list
    middleware.operations.*.allow=EP.white_list middleware.operations.*.block=EP.black_list
    middleware.operations.*.internal=EP.internal middleware.operations.*.transformRequestMethod=EP.method_transforms
    middleware.operations.*.transformRequestBody=EP.transform
    middleware.operations.*.transformResponseBody=EP.transform_response
    middleware.operations.*.transformRequestHeaders=EP.transform_headers
    middleware.operations.*.transformResponseHeaders=EP.transform_response_headers
    middleware.operations.*.enforceTimeout=EP.hard_timeouts middleware.operations.*.circuitBreaker=EP.circuit_breakers
    middleware.operations.*.validateRequest=EP.validate_request
    middleware.operations.*.mockResponse=EP.mock_response middleware.operations.*.urlRewrite=EP.url_rewrites
    middleware.operations.*.virtualEndpoint=EP.virtual middleware.operations.*.postPlugins=EP.go_plugin
    middleware.operations.*.requestSizeLimit=EP.size_limits middleware.operations.*.rateLimit=EP.rate_limit
    middleware.operations.*.*=EP.transform errorOverrides=error_overrides
"""
_NOTED = """
    upstream.uptimeTests.hostDownRetestPeriod upstream.uptimeTests.logRetentionPeriod
    server.gatewayTags server.detailedActivityLogs server.detailedTracing server.eventHandlers server.batchProcessing
    server.contextVariables middleware.global.cache middleware.global.contextVariables middleware.global.trafficLogs
    middleware.global.ignoreCase middleware.global.pluginConfig.driver middleware.global.pluginConfig.data
    middleware.operations.*.cache middleware.operations.*.ignoreAuthentication
    middleware.operations.*.trackEndpoint middleware.operations.*.doNotTrackEndpoint
"""
_SILENT = "info.dbId middleware.global.skipRateLimit middleware.global.skipQuota middleware.global.skipQuotaReset"


def _off_or(idle: Callable[[Node], bool]) -> Callable[[Node], bool]:
    """Return the classic check of whether a key asks for nothing, for a key that has its own switch here."""
    return lambda node: asks_for_nothing(node) or idle(node)


def _rows() -> tuple[Row, ...]:
    reasons = {row.path: row for row in tyk_names.REFUSED}
    endpoints = "version_data.versions.*.extended_paths"
    refused = []
    for line in _REFUSED.split():
        path, _, classic = line.partition("=")
        row = reasons[classic.replace("EP", endpoints)]
        idle = asks_for_nothing if "operations" in path else _off_or(row.idle)
        refused.append(Row(path, Fate.REFUSED, row.message, "remove it only if the API is right without it", idle))
    noted = [Row(path, Fate.NOTED, IGNORED) for path in _NOTED.split()]
    return (*refused, *noted, *(Row(path, Fate.SILENT, "") for path in _SILENT.split()))


ROWS = _rows()
"""The keys of the extension without a counterpart, as in `tyk_names`, but written as they are in the document."""

NAMES: Mapping[Keys, str] = {counterpart.keys: path for path, counterpart in _COUNTERPARTS.items()}
"""The key of the extension that each key of the classic definition comes from."""


def is_oas(node: Node) -> bool:
    """Return whether a definition is an OpenAPI document."""
    return bool({"openapi", EXTENSION} & _members(node).keys())


def classic(node: Node) -> Node:
    """Return the classic definition that an OpenAPI document comes to; `check` tells what it cannot come to."""
    document = _members(node)
    extension = document.get(EXTENSION) or Node(None, node.source, node.base)
    written: dict[str, Any] = {}
    _collect(_TREE, extension, written)
    _settle(written, document)
    return _nodes(written, extension)


def check(node: Node, prefix: Keys, found: Findings) -> bool:
    """Refuse the requests of a document that the gateway lacks, and note the keys that mean nothing here.

    Return whether there is anything to serve: without the extension there is not.
    """
    document = _members(node)
    extension = document.get(EXTENSION)
    if extension is None or extension.value is None:
        place = Place(dotted((*prefix, EXTENSION)), node.source)
        found.error(place, "is not there, so nothing says where this OpenAPI document is served", "add this section")
        return False
    skips = _members(_members(_members(extension).get("middleware")).get("global")).get("skipratelimit")
    rows = _asking(_TREE, extension, (*prefix, EXTENSION), found)
    for row, path, asking in rows:
        if row.path.endswith(".rateLimit") and skips is not None and not asks_for_nothing(skips):
            continue
        place = Place(dotted(path), asking.source)
        if row.fate is Fate.REFUSED:
            found.refusal(place, row.message, row.cure)
        elif row.fate is Fate.NOTED:
            found.note(place, row.message)
    _check_security(document, extension, prefix, found)
    return True


def _collect(tree: Any, node: Node, written: dict[str, Any]) -> None:
    """Write each value that has a counterpart to the counterpart's place."""
    if isinstance(tree, _Counterpart):
        if node.value is not None:
            _put(written, tree.keys, tree.change(node))
    elif isinstance(tree, dict) and isinstance(node.value, dict):
        for key, child in node.value.items():
            _collect(tree.get(key.lower()), child, written)


def _asking(tree: Any, node: Node, path: Keys, found: Findings) -> Iterator[tuple[Row, Keys, Node]]:
    """Yield the keys that have no counterpart and ask for something; report unknown keys."""
    if isinstance(tree, Row):
        if not tree.idle(node):
            yield tree, path, node
    elif isinstance(tree, dict) and isinstance(node.value, dict):
        for key, child in node.value.items():
            branch = tree.get(key.lower()) or tree.get("*")
            if branch is not None:
                yield from _asking(branch, child, (*path, key), found)
            elif not asks_for_nothing(child):
                _tell_unknown(tree, key, Place(dotted((*path, key[:80])), child.source), found)
    elif isinstance(tree, dict) and node.value is not None:
        found.error(Place(dotted(path), node.source), "must be a section with keys", "see docs/configuration.md")


def _tell_unknown(tree: Mapping[str, Any], key: str, place: Place, found: Findings) -> None:
    if close := nearest(key, [name for name in _SPELLED if name.lower() in tree]):
        found.error(place, "this key is not known", f"did you mean {close}?")
    else:
        found.warning(place, "this key is not known, so it is ignored", "remove it, or correct it")


def _check_security(document: Mapping[str, Node], extension: Node, prefix: Keys, found: Findings) -> None:
    """Refuse a document that wants clients to prove something, if its extension does not say that nobody has to."""
    authentication = _members(_members(extension).get("server")).get("authentication")
    switch = _members(authentication).get("enabled")
    security = document.get("security")
    wanted = security is not None and isinstance(security.value, list) and any(map(_members, security.value))
    if security is not None and wanted and (switch is None or switch.value is None):
        found.refusal(
            Place(dotted((*prefix, "security")), security.source),
            "asks clients for a proof of who they are, which this gateway does not check",
            f"remove it if everybody may use the API, or write {EXTENSION}.server.authentication.enabled: false",
        )
    if (streams := document.get("x-tyk-streaming")) and not asks_for_nothing(streams):
        place = Place(dotted((*prefix, "x-tyk-streaming")), streams.source)
        found.error(place, "describes streams, which this gateway does not have", "remove it")


def _settle(written: dict[str, Any], document: Mapping[str, Node]) -> None:
    """Write what a classic definition says with more keys than the extension has."""
    written["use_keyless"] = True  # `check` refuses what is not open to everybody
    title = _members(document.get("info")).get("title")
    if title is not None:
        written.setdefault("name", title)
    for listed, switch in (("allowed_ips", "enable_ip_whitelisting"), ("blacklisted_ips", "enable_ip_blacklisting")):
        if listed in written and not asks_for_nothing(written[listed]):
            written[switch] = True
    proxy = written.get("proxy", {})
    targets = proxy.get("target_list")
    if targets is None or not targets.value:
        proxy.pop("enable_load_balancing", None)  # Tyk balances nothing over no targets
    elif isinstance(targets.value, list):
        _weigh(written, proxy, targets)


def _weigh(written: dict[str, Any], proxy: dict[str, Any], targets: Node) -> None:
    """Turn targets with weights into a list and its weights; one without weight gets nothing, as in Tyk."""
    listed, weights = [], []
    for target in targets.value if isinstance(targets.value, list) else ():
        members = _members(target)
        weight = members.get("weight")
        if weight is not None and asks_for_nothing(weight):
            continue
        listed.append(members.get("url") or target)
        weights.append(weight or Node(1, target.source, target.base))
    proxy["target_list"] = Node(listed, targets.source, targets.base)
    if any(weight.value != 1 for weight in weights) and "gateway" not in written:
        written["gateway"] = {"balancing": {"weights": Node(weights, targets.source, targets.base)}}


def _members(node: Node | None) -> dict[str, Node]:
    return {key.lower(): child for key, child in node.value.items()} if node and isinstance(node.value, dict) else {}


def _put(written: dict[str, Any], keys: tuple[str, ...], node: Node) -> None:
    *sections, last = keys
    for section in sections:
        written = written.setdefault(section, {})
    written[last] = node


def _nodes(value: Any, whole: Node) -> Node:
    if isinstance(value, Node):
        return value
    inner = {key: _nodes(child, whole) for key, child in value.items()} if isinstance(value, dict) else value
    return Node(inner, whole.source, whole.base)


def _tree() -> dict[str, Any]:
    """Return counterparts and rows by their keys in lower case, nested by section."""
    root: dict[str, Any] = {}
    entries: dict[str, _Counterpart | Row] = {**_COUNTERPARTS, **{row.path: row for row in ROWS}}
    for path, entry in entries.items():
        *sections, last = path.lower().split(".")
        branch = root
        for section in sections:
            branch = branch.setdefault(section, {})
        branch[last] = entry
    return root


_TREE = _tree()
_SPELLED = frozenset(part for path in (*_COUNTERPARTS, *(row.path for row in ROWS)) for part in path.split("."))
