"""Upstreams with TLS of their own kind, and what a front needs to meet them."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import trustme
from support.front import configuration

from gateway.store import upstream_sources

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from gateway.config.load import Configuration


class Place:
    """An authority of its own, and files of it in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = trustme.CA(organization_name="Private CA")
        self.ca = self.write("ca.pem", self.authority.cert_pem.bytes())

    def write(self, name: str, content: bytes) -> str:
        path = self.directory / name
        path.touch(mode=0o600)
        path.write_bytes(content)
        return str(path)

    def leaf(self, *names: str, authority: trustme.CA | None = None, **more: Any) -> trustme.LeafCert:
        return (authority or self.authority).issue_cert(*names, **more)

    def bundle(self, name: str, leaf: trustme.LeafCert) -> str:
        """Write a certificate with its key, to be shown to upstreams."""
        return self.write(name, leaf.private_key_and_cert_chain_pem.bytes())

    def server(
        self, leaf: trustme.LeafCert | None = None, *, clients: trustme.CA | None = None, alpn: Iterable[str] = ()
    ) -> ssl.SSLContext:
        """Make an upstream's context; with ``clients`` it wants a certificate of that authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        (leaf or self.leaf("localhost", "127.0.0.1")).configure_cert(context)
        if clients is not None:
            clients.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context


def resolved(*apis: dict[str, Any], **settings: Any) -> Configuration:
    """Make a configuration with what it names towards upstreams, as a reload finds it."""
    return found(configuration(*apis, **settings))


def found(config: Configuration) -> Configuration:
    """Return a configuration with what it names towards upstreams."""
    material = upstream_sources.collect(config, datetime.now(UTC)).material
    return config.model_copy(update={"material": material})
