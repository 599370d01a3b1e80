"""Names that exist in Tyk and mean nothing here: known, to be told from misspelt ones, and ignored.

Lower case, as Go compares keys without case. What stands inside the objects among them is not looked at.
"""

from __future__ import annotations

IGNORED = "exists in Tyk and means nothing here, so it is ignored"

_MAIN_FILE = """
    access_logs allow_insecure_configs allow_master_keys allow_remote_config allow_unsafe_policy_ids
    analytics_config analytics_storage auth_override basic_auth_hash_key_function bundle_base_url
    bundle_insecure_skip_verify cache_storage close_idle_connections cloud control_api_hostname
    coprocess_options db_app_conf_options disable_dashboard_zeroconf disable_key_actions_by_username
    disable_ports_whitelist disable_regexp_cache disable_virtual_path_blobs dns_cache
    drl_enable_sentinel_rate_limiter drl_notification_frequency drl_threshold enable_analytics
    enable_api_segregation enable_bundle_downloader enable_config_inspection
    enable_fixed_window_rate_limiter enable_hashed_keys_listing enable_http_profiler enable_jsvm
    enable_key_logging enable_non_transactional_rate_limiter enable_rate_limit_smoothing
    enable_redis_rolling_limiter enable_sentinel_rate_limiter enable_separate_analytics_store
    enable_separate_cache_store enforce_org_data_age enforce_org_data_detail_logging enforce_org_quotas
    error_overrides event_handlers event_trigers_defunct event_triggers_defunct
    experimental_process_org_off_thread external_services force_global_session_lifetime
    global_session_lifetime graylog_network_addr hash_key_function hash_key_function_fallback
    hash_keys health_check health_check_endpoint_name hide_generator_header
    ignore_canonical_mime_header_key ignore_endpoint_case jsvm_timeout jwks jwt_ssl_insecure_skip_verify
    kv labs legacy_enable_allowance_countdown liveness_check local_session_cache log_format log_level
    logstash_network_addr logstash_transport management_node max_conn_time max_idle_connections
    middleware_path min_token_length monitor newrelic node_secret oas_config oauth_error_status_code
    oauth_redirect_uri_separator oauth_refresh_token_expire oauth_token_expire
    oauth_token_expired_retain_period omit_config_file opentelemetry optimisations_use_async_session_write
    override_messages policies ports_whitelist private_certificate_encoding_secret
    proxy_close_connections public_key_path
    rate_limit_response_headers readiness_check_endpoint_name regexp_cache_expire reload_interval
    reload_wait_time resource_sync secrets sentry_code sentry_log_level service_discovery
    session_lifetime_respects_key_expiration session_update_buffer_size session_update_pool_size
    skip_verify_existing_plugin_bundle slave_options statsd_connection_string
    statsd_prefix storage streaming suppress_default_org_store suppress_redis_signal_reload
    syslog_network_addr syslog_transport template_path tracing track_404_logs tyk_js_path
    use_db_app_configs use_graylog use_logstash use_redis_log use_sentry use_syslog version_header
"""

_HTTP_SERVER_OPTIONS = """
    enable_path_prefix_matching enable_path_suffix_matching flush_interval
    max_response_body_size override_defaults skip_target_path_escaping
    ssl_insecure_skip_verify use_ssl_le
"""

_DEFINITION = """
    _id analytics_plugin api_model application_protocol auth auth_configs auth_provider
    base_identity_provided_by basic_auth cache_options
    config_data config_data_disabled cors created_at custom_middleware custom_middleware_bundle
    custom_middleware_bundle_disabled custom_plugin_auth_enabled definition detailed_tracing
    disable_quota disable_rate_limit do_not_track dont_set_quota_on_create enable_batch_request_support
    enable_context_vars enable_coprocess_auth enable_detailed_recording enable_jwt
    enable_signature_checking error_overrides event_handlers expiration expire_analytics_after
    external_oauth global_rate_limit graphql hmac_allowed_algorithms hmac_allowed_clock_skew id
    idp_client_id_mapping_disabled is_oas json_rpc_version jwt_client_base_field jwt_default_policies
    jwt_expires_at_validation_skew jwt_identity_base_field jwt_issued_at_validation_skew jwt_jwks_uris
    jwt_not_before_validation_skew jwt_policy_field_name jwt_scope_claim_name jwt_scope_to_policy_mapping
    jwt_signing_method jwt_skip_kid jwt_source notifications oauth_meta openid_options
    request_signing response_processors scopes security_requirements session_lifetime
    session_lifetime_respects_key_expiration session_provider slug strip_auth_data tag_headers tags
    tags_disabled
    use_basic_auth use_go_plugin_auth use_oauth2 use_openid use_standard_auth
    user_group_owners user_owners version_name
"""

MAIN_FILE = frozenset(_MAIN_FILE.split())
HTTP_SERVER_OPTIONS = frozenset(_HTTP_SERVER_OPTIONS.split())
DEFINITION = frozenset(_DEFINITION.split())
SECURITY = frozenset(
    {
        "allow_unsafe_dynamic_mtls_token",
        "private_certificate_encoding_secret",
    }
)
CERTIFICATES_OF_SECURITY = frozenset({"dashboard_api", "mdcb_api"})
UPSTREAM_AUTH = frozenset({"oauth", "upstream_request_signing", "request_signing"})
PROXY = frozenset({"service_discovery"})
TRANSPORT = frozenset({"proxy_url"})
VERSION = frozenset(
    {"expires", "extended_paths", "ignore_endpoint_case", "override_target", "paths", "use_extended_paths"}
)

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
