"""A node in a directory: real files and a real store, with a stand-in for the workers."""

from __future__ import annotations

import json
import os
from contextlib import closing
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import yaml

from gateway.admin.operations import Actor, Expectation, Upload
from gateway.observe.events import EventLog
from gateway.runtime import renewal
from gateway.runtime.expiry import ExpiryWatch
from gateway.runtime.operations import LiveOperations
from gateway.runtime.reloads import Reloads
from gateway.store.audit import Deed
from gateway.store.sqlite import Store

if TYPE_CHECKING:
    from collections.abc import Set
    from pathlib import Path

    from gateway.certs.pem import CertificatePair
    from gateway.certs.self_signed import Authority

ACTOR = Actor("tester", "192.0.2.1")
WHATEVER = Expectation()


@dataclass
class PlayedRoster:
    """Confirms everything, but for the shortfalls that a test wants."""

    generation: int = 1
    missing: tuple[str, ...] = ()
    applied: list[tuple[int, frozenset[str]]] = field(default_factory=list)

    async def apply(self, generation: int, names: Set[str], seconds: float) -> tuple[str, ...]:
        self.generation = generation
        self.applied.append((generation, frozenset(names)))
        return self.missing

    async def confirmed(self, seconds: float) -> tuple[str, ...]:
        return self.missing

    def shortfalls(self) -> tuple[str, ...]:
        return self.missing

    def serving(self) -> int:
        return 2


@dataclass(frozen=True)
class PlayedInherited:
    config_path: Path
    environ: dict[str, str]
    settings: Any
    data_dir: Path
    listeners: Any = field(default_factory=lambda: SimpleNamespace(services={}))


class Node:
    """A node in a directory: its files, its operations, and what its workers were told."""

    def __init__(self, directory: Path, authority: Authority) -> None:
        self.directory, self.authority = directory, authority
        self.filed = self.file("a.test")
        (directory / "apps").mkdir()
        self.main: dict[str, Any] = {
            "http_server_options": {"use_ssl": True, "ssl_certificates": ["a.test.pem"]},
            "app_path": "apps",
        }
        self.define("one", domain="a.test")
        self.configure()
        config_path = directory / "gateway.yaml"
        candidate = renewal.read(config_path, {})
        self.data_dir = directory / "data"
        generation, _ = renewal.publish(self.data_dir, candidate, Deed("gateway", "", "start", "gateway.yaml"))
        self.roster, self.asked = PlayedRoster(), list[Actor]()
        inherited = PlayedInherited(config_path, {}, candidate.configuration.settings, self.data_dir)
        self.log = os.open(directory / "log", os.O_CREAT | os.O_WRONLY)
        events = EventLog(self.log)
        self.reloads = Reloads(inherited, generation, self.roster, events)  # type: ignore[arg-type]
        self.operations = LiveOperations(
            inherited,  # type: ignore[arg-type]
            self.reloads,
            self.roster,  # type: ignore[arg-type]
            frozenset,
            self.asked.append,
            ExpiryWatch(self.data_dir, lambda: self.reloads.current.configuration, lambda: 1, events),
            events,
        )

    def file(self, name: str) -> CertificatePair:
        pair = self.authority.leaf(name)
        path = self.directory / f"{name}.pem"
        path.touch(mode=0o600)
        path.write_bytes(pair.chain_pem + pair.key_pem)
        return pair

    def define(self, api_id: str, **more: object) -> dict[str, Any]:
        proxy = {"listen_path": "/", "target_url": "http://127.0.0.1/"}
        definition = {"api_id": api_id, "use_keyless": True, "active": True, "proxy": proxy, **more}
        (self.directory / "apps" / f"{api_id}.json").write_text(json.dumps(definition))
        return definition

    def configure(self) -> None:
        (self.directory / "gateway.yaml").write_text(yaml.safe_dump(self.main))

    async def put(self, pair: CertificatePair, domain: str = "a.test", **more: Any) -> Any:
        upload = Upload(pair.chain_pem + pair.key_pem)
        options = {"dry_run": False, **more}
        return await self.operations.put_certificate(
            domain, upload, options.pop("expect", WHATEVER), actor=ACTOR, **options
        )

    def served(self, name: str = "a.test") -> list[str]:
        with closing(Store.open(self.data_dir, writable=False)) as store:
            return [pair.fingerprint for pair in store.find(name)]

    async def results(self) -> list[tuple[str, str, str]]:
        return [(entry.what, entry.subject, entry.result) for entry in await self.operations.generations(10)]
