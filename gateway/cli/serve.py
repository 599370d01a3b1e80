"""``gateway serve``: run the gateway in the foreground."""

from __future__ import annotations

import json
import os
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import Annotated

import typer

from gateway.cli.configuration_file import ConfigOption, find

# InfluxDB's strict list without what it should not have: only forward secrecy, only authenticated encryption.
_STRICT = ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384")


def serve(
    config: ConfigOption = None,
    *,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Serve HTTPS with this certificate instead of `certificates`.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its private key; default: in the same file.")
    ] = None,
    tls_min_version: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Lowest TLS version, such as 1.3.")
    ] = None,
    tls_strict_ciphers: Annotated[
        bool, typer.Option("--tls-strict-ciphers", help="Below TLS 1.3 only ECDHE with AES-256-GCM.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at any error in an API definition, instead of serving the others.")
    ] = False,
) -> None:
    """Serve what the configuration describes: SIGHUP reads it again, SIGTERM or Ctrl-C drains and stops.

    The flags are InfluxDB's. They win over the file and over the environment, at each reload too.
    """
    from gateway.runtime import supervisor
    from gateway.runtime.upgrade import Command

    if tls_key and not tls_cert:
        raise typer.BadParameter("it needs --tls-cert beside it", param_hint="--tls-key")
    path = find(config)
    environ = {**os.environ, **_variables(tls_cert, tls_key, tls_min_version, strict=tls_strict_ciphers)}
    if strict:
        environ["TYK_GW_GATEWAY_STRICT"] = "true"
    raise typer.Exit(supervisor.run(path, environ, Command.of_this_process()))


def _variables(cert: Path | None, key: Path | None, minimum: str | None, *, strict: bool) -> dict[str, str]:
    """The variables that say what the flags say."""
    options = "TYK_GW_HTTPSERVEROPTIONS_"
    variables = {}
    if cert:
        pair = {"cert_file": str(cert.absolute()), "key_file": str((key or cert).absolute())}
        variables[f"{options}USESSL"] = "true"
        variables[f"{options}CERTIFICATES"] = json.dumps([pair])
    if minimum:
        variables[f"{options}MINVERSION"] = minimum
    if strict:
        variables[f"{options}CIPHERS"] = ",".join(_STRICT)
    return variables
