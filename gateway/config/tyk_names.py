"""The fate of each key that Tyk has and this gateway does not obey, in one table.

A key that restricts who may ask, how often, how much, until when, in what shape or from where, and one that decides
where a request goes, is refused when it asks for something. A note is only for what can change nothing about a
request's fate. Where a row covers a section, it covers everything in it that has no row of its own.

Sources: ``apidef.APIDefinition`` and ``config.Config`` of Tyk. Names are in lower case, as Go compares keys without
case; ``*`` stands for any key, or for each item of a list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from gateway.config.node import asks_for_nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gateway.config.node import Node


class Fate(StrEnum):
    """The fate of a key that asks for something."""

    REFUSED = "refused"
    WARNED = "warned of"
    NOTED = "noted"
    SILENT = "passed over"


@dataclass(frozen=True, slots=True)
class Row:
    """A key, what becomes of it, why, and what to do; ``idle`` says of its value that it asks for nothing."""

    path: str
    fate: Fate
    message: str
    cure: str = ""
    idle: Callable[[Node], bool] = asks_for_nothing


IGNORED = "exists in Tyk and means nothing here, so it is ignored"

_SINCE = "which this gateway does not do, and nothing is served without it"


ENDPOINTS = "version_data.versions.*.extended_paths"


def _rows(paths: str, fate: Fate, message: str = IGNORED, cure: str = "") -> Iterator[Row]:
    return (Row(path, fate, message, cure, _idle(path)) for path in paths.replace("PATHS", ENDPOINTS).split())


def _refused(paths: str, message: str, cure: str) -> Iterator[Row]:
    return _rows(paths, Fate.REFUSED, message, cure)


def _idle(path: str) -> Callable[[Node], bool]:
    """Return the test of whether a key asks for nothing: in endpoints and code, Tyk knows only ``disabled``."""
    in_them = path.startswith((f"{ENDPOINTS}.", "custom_middleware."))
    return _empty_or_disabled if in_them and not path.endswith(".validate_request") else asks_for_nothing


def _empty_or_disabled(node: Node) -> bool:
    return asks_for_nothing(node, frozenset())


def _never_ends(node: Node) -> bool:
    """Return whether an expiry date is absent, or centuries away as in Tyk's samples: 3000-01-02 15:04."""
    return asks_for_nothing(node) or bool(re.fullmatch(r"-1|(2[2-9]|[3-9]\d)\d\d-.*", str(node.value)))


def _limits_nothing(node: Node) -> bool:
    """Return whether a rate limit is off, as it is without a rate or without a time (``RateLimitMeta.Valid``)."""
    members = _members(node)
    numbers = [members[key] for key in ("rate", "per") if key in members]
    idle = (asks_for_nothing(one) or str(one.value).startswith("-") for one in numbers)
    return _empty_or_disabled(node) or any(idle)


def _each(idle: Callable[[Node], bool]) -> Callable[[Node], bool]:
    """Return the same check for each item of a list; a value that is no list of sections is checked as it is."""

    def all_idle(node: Node) -> bool:
        items = node.value if isinstance(node.value, list) else [node]
        listed = isinstance(node.value, list)
        return all(idle(one) if listed and isinstance(one.value, dict) else _empty_or_disabled(one) for one in items)

    return all_idle


def _members(node: Node) -> dict[str, Node]:
    return {key.lower(): child for key, child in node.value.items()} if isinstance(node.value, dict) else {}


def _ignores_only(node: Node) -> bool:
    """Return whether an ignored endpoint only skips the key. Tyk itself answers one with the action ``reply``."""
    actions = _members(node).get("method_actions")
    replies = [_members(one).get("action") for one in _members(actions).values()] if actions else []
    return _empty_or_disabled(node) or not any(action and action.value == "reply" for action in replies)


def _processes_nothing(node: Node) -> bool:
    """Return whether a response processor only does what other keys say, and has no settings of its own."""
    members = _members(node)
    name, options = members.get("name"), members.get("options")
    known = name is None or str(name.value) in {"", "header_injector", "response_body_transform"}
    return asks_for_nothing(node) or (known and (options is None or asks_for_nothing(options)))


_ACCESS = (
    "asks for an access control that this gateway does not have, and nothing is served without it",
    "remove it only if everybody may use the API",
)
_UPSTREAM = (
    "asks for a proof of identity towards upstreams that this gateway does not have",
    "remove it only if the upstreams do without",
)
_RATE = f"limits how often requests may come, {_SINCE}"
_RATE_CURE = "remove it, or write disable_rate_limit: true, only if the upstream bears whatever comes"
_END = f"says until when the API may be used, {_SINCE}"
_END_CURE = "remove it, and take the API out when its time has come: active: false"
_CONTENT = f"changes requests or responses, {_SINCE}"
_CONTENT_CURE = "remove it only if both sides do without"

_ACCESS_CONTROLS = """
    use_oauth2 external_oauth.enabled use_openid enable_jwt use_basic_auth use_standard_auth
    enable_signature_checking auth.use_certificate
    auth.validate_signature auth_configs.*.use_certificate auth_configs.*.validate_signature
    security_requirements enable_coprocess_auth use_go_plugin_auth custom_plugin_auth_enabled
    custom_middleware.auth_check application_protocol json_rpc_version
    version_data.versions.*.paths.white_list version_data.versions.*.paths.black_list
    PATHS.white_list PATHS.black_list PATHS.internal
"""

REFUSED: tuple[Row, ...] = (
    *_refused(_ACCESS_CONTROLS, *_ACCESS),
    *_refused(
        "upstream_auth.oauth.enabled upstream_auth.upstream_request_signing.enabled"
        " upstream_auth.request_signing.enabled request_signing.is_enabled",
        *_UPSTREAM,
    ),
    Row("global_rate_limit", Fate.REFUSED, _RATE, _RATE_CURE, _limits_nothing),
    Row(
        f"{ENDPOINTS}.rate_limit",
        Fate.REFUSED, _RATE, _RATE_CURE, _each(_limits_nothing),
    ),
    Row("expiration", Fate.REFUSED, _END, _END_CURE, _never_ends),
    Row("version_data.versions.*.expires", Fate.REFUSED, _END, _END_CURE, _never_ends),
    *_refused(
        "PATHS.size_limits",
        f"limits the size of requests to single endpoints, {_SINCE}",
        "write gateway.body_bytes, which holds for the whole API",
    ),
    *_refused(
        "PATHS.validate_json PATHS.validate_request PATHS.persist_graphql graphql.enabled",
        f"says which requests are well-formed, {_SINCE}",
        "remove it only if the upstream bears whatever comes",
    ),
    *_refused(
        "PATHS.hard_timeouts PATHS.circuit_breakers global_enforce_timeout",
        f"says how long an upstream is waited for, or when it is left alone, {_SINCE}",
        "write gateway.timeouts and gateway.health, which hold for the whole API",
    ),
    *_refused(
        "custom_middleware.pre custom_middleware.post custom_middleware.post_key_auth custom_middleware.response"
        " custom_middleware_bundle PATHS.go_plugin PATHS.virtual",
        f"runs code of yours that may refuse, answer or change requests, {_SINCE}",
        "remove it only if the API is right without that code",
    ),
    *_refused(
        "PATHS.url_rewrites version_data.versions.*.override_target proxy.service_discovery.use_discovery_service"
        " uptime_tests.config.service_discovery.use_discovery_service proxy.transport.proxy_url",
        f"decides where requests go, {_SINCE}",
        "remove it, and write where they go in proxy.target_url or proxy.target_list",
    ),
    *_refused(
        "definition.enabled definition.location",
        f"chooses a version of the API by the request, {_SINCE}",
        "write version_data.not_versioned: true, and make an API of each version",
    ),
    Row(
        f"{ENDPOINTS}.ignored", Fate.REFUSED,
        f"answers requests itself, {_SINCE}", "remove its method_actions", _each(_ignores_only),
    ),
    *_refused(
        "is_oas",
        "says that the whole of this API is in an OAS document beside this file, and there is none",
        "put it there, under the name of this file with -oas before .json; or set this to false if this file says all",
    ),
    *_refused(
        "PATHS.*",
        "is not known here, and what Tyk keeps in this place decides about requests",
        "correct it, or remove it if the API is right without it",
    ),
    *_refused("PATHS.mock_response", f"answers requests itself, {_SINCE}", "remove it, and let the upstream answer"),
    *_refused(
        "PATHS.transform PATHS.transform_response PATHS.transform_jq PATHS.transform_jq_response"
        " PATHS.method_transforms",
        _CONTENT,
        _CONTENT_CURE,
    ),
    *_refused(
        "PATHS.transform_headers PATHS.transform_response_headers",
        f"changes header fields of single endpoints, {_SINCE}",
        "write gateway.request_headers or gateway.response_headers, which hold for the whole API",
    ),
    Row("response_processors", Fate.REFUSED, _CONTENT, _CONTENT_CURE, _each(_processes_nothing)),
    *_refused(
        "cors",
        f"says which sites' pages may use the API, {_SINCE}",
        "let the upstream answer that, and write CORS.enable: false",
    ),
    *_refused("error_overrides", f"changes what clients see of errors, {_SINCE}", _CONTENT_CURE),
    *_refused(
        "proxy.transport.ssl_force_rootca_check proxy.transport.ssl_rootca_cert",
        "says which authority the upstream is trusted by, in a way that Tyk has given up",
        "name the authority in gateway.upstream_tls.ca_file",
    ),
    *_refused(
        "uptime_tests.check_list.*.commands uptime_tests.check_list.*.enable_proxy_protocol",
        "decides whether a target is up, and is not part of the checks that are made here",
        "remove it: a tcp check connects, an http check asks for a page",
    ),
)  # fmt: skip

# Of keys and of those who hold them, of analytics, events and caches, of developers' portals.
_NOTED = """
    analytics_plugin api_model auth auth_configs auth_provider base_identity_provided_by basic_auth cache_options
    check_host_against_uptime_tests config_data custom_middleware definition detailed_tracing
    dont_set_quota_on_create enable_batch_request_support enable_context_vars enable_detailed_recording
    event_handlers expire_analytics_after external_oauth graphql hmac_allowed_algorithms
    hmac_allowed_clock_skew jwt_client_base_field jwt_default_policies
    jwt_expires_at_validation_skew jwt_identity_base_field jwt_issued_at_validation_skew jwt_jwks_uris
    jwt_not_before_validation_skew jwt_policy_field_name jwt_scope_claim_name jwt_scope_to_policy_mapping
    jwt_signing_method jwt_skip_kid jwt_source notifications oauth_meta openid_options request_signing scopes
    session_lifetime session_lifetime_respects_key_expiration session_provider strip_auth_data tag_headers tags
    upstream_auth.oauth upstream_auth.upstream_request_signing upstream_auth.request_signing
    proxy.service_discovery uptime_tests.config
    version_data.versions.*.extended_paths version_data.versions.*.ignore_endpoint_case
    version_data.versions.*.paths
"""
_NOTED_ENDPOINTS = tuple(
    _rows("PATHS.advance_cache_config PATHS.cache PATHS.do_not_track_endpoints PATHS.track_endpoints", Fate.NOTED)
)
# What tells one definition from another, when and by whom it was written; and what only switches other keys off.
_SILENT = """
    _id config_data_disabled created_at custom_middleware_bundle_disabled disable_quota disable_rate_limit
    do_not_track error_overrides_disabled global_enforce_timeout_disabled id idp_client_id_mapping_disabled
    slug tags_disabled updated_at user_group_owners user_owners version_data.versions.*.use_extended_paths
    version_name
"""

DEFINITION: tuple[Row, ...] = (
    *REFUSED,
    *_rows(_NOTED, Fate.NOTED),
    *_rows(_SILENT, Fate.SILENT),
)

_MAIN_NOTED = """
    access_logs allow_insecure_configs allow_master_keys allow_remote_config allow_unsafe_policy_ids
    analytics_config analytics_storage auth_override basic_auth_hash_key_function bundle_base_url
    bundle_insecure_skip_verify cache_storage close_idle_connections cloud control_api_hostname
    coprocess_options db_app_conf_options disable_auto_max_procs disable_dashboard_zeroconf
    disable_key_actions_by_username disable_regexp_cache disable_regexp_cache_bound
    disable_virtual_path_blobs dns_cache
    drl_enable_sentinel_rate_limiter drl_notification_frequency drl_threshold enable_analytics
    enable_api_segregation enable_bundle_downloader enable_config_inspection
    enable_fixed_window_rate_limiter enable_hashed_keys_listing enable_http_profiler enable_jsvm
    enable_key_logging enable_non_transactional_rate_limiter enable_rate_limit_smoothing
    enable_redis_rolling_limiter enable_sentinel_rate_limiter enable_separate_analytics_store
    enable_separate_cache_store enforce_org_data_age enforce_org_data_detail_logging event_handlers
    event_trigers_defunct event_triggers_defunct experimental_process_org_off_thread external_services
    force_global_session_lifetime global_session_lifetime graylog_network_addr hash_key_function
    hash_key_function_fallback hash_keys health_check health_check_endpoint_name hide_generator_header
    ignore_canonical_mime_header_key ignore_endpoint_case jsvm_timeout jwks jwt_ssl_insecure_skip_verify
    kv labs legacy_enable_allowance_countdown liveness_check local_session_cache log_format log_level
    logstash_network_addr logstash_transport management_node max_conn_time max_idle_connections
    middleware_path min_token_length monitor newrelic node_secret oas_config oauth_error_status_code
    oauth_redirect_uri_separator oauth_refresh_token_expire oauth_token_expire
    oauth_token_expired_retain_period omit_config_file opentelemetry optimisations_use_async_session_write
    override_messages policies private_certificate_encoding_secret
    proxy_close_connections public_key_path
    rate_limit_response_headers readiness_check_endpoint_name regexp_cache_expire regexp_cache_max_entries
    reload_interval reload_wait_time resource_sync secrets sentry_code sentry_log_level service_discovery
    session_lifetime_respects_key_expiration session_update_buffer_size session_update_pool_size
    skip_verify_existing_plugin_bundle slave_options statsd_connection_string
    statsd_prefix storage stores streaming suppress_default_org_store suppress_redis_signal_reload
    syslog_network_addr syslog_transport template_path tracing track_404_logs tyk_js_path
    use_graylog use_logstash use_redis_log use_sentry use_syslog version_header
    http_server_options.enable_path_prefix_matching http_server_options.enable_path_suffix_matching
    http_server_options.flush_interval http_server_options.max_response_body_size
    http_server_options.override_defaults http_server_options.skip_target_path_escaping
    http_server_options.ssl_insecure_skip_verify http_server_options.use_ssl_le
    security.allow_unsafe_dynamic_mtls_token security.private_certificate_encoding_secret
    security.certificates.dashboard_api security.certificates.mdcb_api
    uptime_tests.poller_group uptime_tests.config.enable_uptime_analytics
"""

MAIN_FILE: tuple[Row, ...] = (
    Row(
        "enforce_org_quotas", Fate.WARNED,
        "limits what an organisation may ask by what Tyk keeps of it in Redis, which is not read here",
        "remove it if no organisation has a quota, as in a gateway that is no Dashboard's",
    ),
    Row(
        "use_db_app_configs", Fate.WARNED,
        "has Tyk fetch its API definitions from the Dashboard; here they are those of app_path and apis",
        "write the definitions to files, and set it to false",
    ),
    Row(
        "slave_options.use_rpc", Fate.WARNED,
        "has Tyk fetch its API definitions from another data centre; here they are those of app_path and apis",
        "write the definitions to files, and set it to false",
    ),
    Row(
        "error_overrides", Fate.WARNED,
        "changes what clients see of errors; here they see the gateway's own and the upstreams'",
        "remove it if that is right",
    ),
    *_rows(_MAIN_NOTED, Fate.NOTED),
)  # fmt: skip


UNNOTED = frozenset(row.path.rpartition(".")[2] for row in (*DEFINITION, *MAIN_FILE) if row.fate is not Fate.NOTED)
"""The names that get no note: there is nothing to say, or something louder is said."""


def names(table: Sequence[Row], place: str = "") -> frozenset[str]:
    """Return the keys of a section (the root, or ``proxy.transport``, say) that have rows, themselves or inside."""
    start = place.split(".") if place else []
    paths = (row.path.split(".") for row in table)
    return frozenset(path[len(start)] for path in paths if path[: len(start)] == start and len(path) > len(start))


def refusals() -> dict[str, Any]:
    """Return the refused keys of definitions, and their neighbours that are not refused, nested by section."""
    return tree((*REFUSED, *_NOTED_ENDPOINTS), Fate.REFUSED, Fate.NOTED)


def tree(table: Sequence[Row], *fates: Fate) -> dict[str, Any]:
    """Return the rows of those fates by their keys, nested by section: each key of a file is looked up once."""
    root: dict[str, Any] = {}
    for row in table:
        if row.fate in fates:
            *sections, last = row.path.split(".")
            branch = root
            for section in sections:
                branch = branch.setdefault(section, {})
            branch[last] = row
    return root


# Go's field name, where it is not the key in capitals without underscores. Three of the keys are obeyed here.
IRREGULAR_VARIABLES = {
    "apis": "API",
    "disable_ports_whitelist": "DISABLEPORTWHITELIST",
    "enable_http_profiler": "HTTPPROFILE",
    "enable_separate_analytics_store": "ENABLESEPERATEANALYTICSSTORE",
    "enable_separate_cache_store": "ENABLESEPERATECACHESTORE",
    "max_idle_connections": "MAXIDLECONNS",
    "max_idle_connections_per_host": "MAXIDLECONNSPERHOST",
    "oas_config": "OAS",
    "oauth_refresh_token_expire": "OAUTHREFRESHEXPIRE",
    "optimisations_use_async_session_write": "USEASYNCSESSIONWRITE",
    "ports_whitelist": "PORTWHITELIST",
    "proxy_ssl_ciphers": "PROXYSSLCIPHERSUITES",
    "ssl_ciphers": "CIPHERS",
    "suppress_default_org_store": "SUPRESSDEFAULTORGSTORE",
    "tracing": "TRACER",
}
