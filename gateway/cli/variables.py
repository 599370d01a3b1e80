"""The environment variables that the commands read beside a gateway's own."""

from __future__ import annotations

URL_VARIABLE = "GATEWAY_ADMIN_URL"
USER_VARIABLE = "GATEWAY_ADMIN_USER"
PASSWORD_VARIABLE = "GATEWAY_ADMIN_PASSWORD"  # noqa: S105 - the name of a variable, not a password
SECRET_VARIABLE = "TYK_GW_SECRET"  # noqa: S105 - the name of a variable, not a secret
TRUST_VARIABLE = "GATEWAY_ADMIN_TRUST"
CLIENT_CERT_VARIABLE, CLIENT_KEY_VARIABLE = "GATEWAY_ADMIN_CLIENT_CERT", "GATEWAY_ADMIN_CLIENT_KEY"
