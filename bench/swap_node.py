"""The gateway of `bench.swaps`: its certificates in files of every style, its admin API, its event log."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import swap_clients
from bench.measure import session
from bench.scale import SECRET, certify
from bench.servers import HERE, free_ports
from bench.swap_clients import PATIENCE, Handshake, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.certs.pem import CertificatePair

API = "api.bench.test"
OTHERS = ("other1.bench.test", "other2.bench.test")


@dataclass(frozen=True, slots=True)
class Swap:
    """A certificate of a name: when it was asked for, and when it was acknowledged to be served by all."""

    asked: float
    acknowledged: float
    fingerprint: str


# Styles of changing a certificate file: each is given the directory of its domain and the bundle.


def in_place(home: Path, bundle: bytes) -> None:
    """Write over the file, in two goes, as an editor or `cat >` may."""
    with (home / "tls.pem").open("wb") as file:
        file.write(bundle[: len(bundle) // 2])
        file.flush()
        file.write(bundle[len(bundle) // 2 :])


def renamed(home: Path, bundle: bytes) -> None:
    """Write a draft and rename it over the file."""
    draft = home / ".draft"
    draft.write_bytes(bundle)
    draft.rename(home / "tls.pem")


def kubernetes(home: Path, bundle: bytes) -> None:
    """Turn the link ..data to a new directory; tls.pem is a link through it."""
    data = Path(tempfile.mkdtemp(prefix="..", dir=home))
    (data / "tls.pem").write_bytes(bundle)
    old = (home / "..data").resolve() if (home / "..data").exists() else None
    (home / "..tmp").symlink_to(data.name)
    (home / "..tmp").rename(home / "..data")
    if not (home / "tls.pem").is_symlink():
        (home / "tls.pem").symlink_to("..data/tls.pem")
    if old:
        shutil.rmtree(old)


def certbot(home: Path, bundle: bytes) -> None:
    """Write the next file of the archive, and turn the link in live to it."""
    archive = home / "archive"
    archive.mkdir(exist_ok=True)
    path = archive / f"tls{len(list(archive.iterdir())) + 1}.pem"
    path.write_bytes(bundle)
    (home / "draft").symlink_to(path.relative_to(home))
    (home / "draft").rename(home / "tls.pem")


STYLES: dict[str, Callable[[Path, bytes], None]] = {
    f"{style.__name__.replace('_', '-')}.bench.test": style for style in (in_place, renamed, kubernetes, certbot)
}


@dataclass(slots=True)
class Node:
    """A gateway with two workers, its admin API and its event log."""

    home: Path
    port: int
    control: int
    process: subprocess.Popen[str]
    histories: defaultdict[str, list[Swap]] = field(default_factory=lambda: defaultdict(list))
    applied: Counter[str] = field(default_factory=Counter)
    complaints: Counter[str] = field(default_factory=Counter)
    heard: threading.Condition = field(default_factory=threading.Condition)

    @classmethod
    def start(cls, home: Path, upstream: int) -> Node:
        """Make certificates and configuration, and start it."""
        port, control = free_ports(2)
        firsts = {name: (time.monotonic(), certify(name)) for name in (API, *OTHERS, *STYLES)}
        for name, (_, pair) in firsts.items():
            directory = home / name
            directory.mkdir()
            STYLES.get(name, renamed)(directory, pair.chain_pem + pair.key_pem)
        settings = {
            "listen_address": "127.0.0.1",
            "listen_port": port,
            "control_api_port": control,
            "secret": SECRET,
            "http_server_options": {"use_ssl": True, "ssl_certificates": [f"{name}/tls.pem" for name in firsts]},
            "gateway": {"workers": 2, "access_log": "off", "limits": {"requests_per_connection": 10**9}},
            "apis": [{"api_id": name, "domain": name, "use_keyless": True,
                      "proxy": {"listen_path": "/", "target_url": f"http://127.0.0.1:{upstream}/"}} for name in firsts],
        }  # fmt: skip
        (home / "gateway.json").write_text(json.dumps(settings))
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve", "--config", str(home / "gateway.json")],
            cwd=HERE.parent,
            env={name: value for name, value in os.environ.items() if not name.startswith("TYK_GW_")},
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True, umask=0o077,
        )  # fmt: skip
        node = cls(home, port, control, process)
        for name, (began, pair) in firsts.items():
            node.histories[name].append(Swap(began, began, pair.fingerprint))
        threading.Thread(target=node._listen, daemon=True).start()
        node.wait_until_ready()
        return node

    def _listen(self) -> None:
        """Follow the event log: the names that reloads have changed, and what should not be said."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self.heard:
                if "event=reload.applied" in line:
                    names = line.partition("certificates_changed=")[2].partition(" workers=")[0]
                    self.applied.update(names.strip('"').split(", "))
                elif "Z error " in line or "handshake error" in line or "event=reload.refused" in line:
                    self.complaints[line.partition("Z ")[2].partition("  event=")[0]] += 1
                self.heard.notify_all()

    def wait_until_ready(self) -> None:
        """Wait until every worker serves. Raises RuntimeError."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException, KeyError):
                if self.call("GET", "/hello")["details"]["workers"]["status"] == "pass":
                    return
            time.sleep(0.05)
        raise RuntimeError("the gateway did not become ready")

    def stop(self) -> None:
        """End all of it."""
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(40)
        for pid in session(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def call(self, method: str, path: str, body: bytes = b"") -> dict[str, Any]:
        """Ask the admin API. Raises RuntimeError when it refuses."""
        connection = http.client.HTTPConnection("127.0.0.1", self.control, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request(method, path, body, {"X-Tyk-Authorization": SECRET})
            answer = connection.getresponse()
            said: dict[str, Any] = json.loads(answer.read())
        if answer.status != 200:
            raise RuntimeError(f"{method} {path} was answered with {answer.status}: {said}")
        return said

    def put(self) -> float:
        """Swap through the API; return the seconds that the answer took."""
        pair = certify(API)
        began = time.monotonic()
        answer = self.call("PUT", f"/tyk/domains/{API}/certificate", pair.chain_pem + pair.key_pem)
        return self._acknowledged(API, began, answer, pair.fingerprint)

    def roll_back(self) -> float:
        """Go back to the certificate before; return the seconds that the answer took."""
        began, before = time.monotonic(), self.histories[API][-2].fingerprint
        answer = self.call("POST", f"/tyk/domains/{API}/certificate/rollback")
        return self._acknowledged(API, began, answer, before)

    def _acknowledged(self, name: str, began: float, answer: dict[str, Any], expected: str) -> float:
        now = time.monotonic()
        if answer["fingerprint"] != expected or answer["warnings"]:
            raise RuntimeError(f"a swap of {name} was answered with {answer}")
        self.histories[name].append(Swap(began, now, expected))
        return now - began

    def write_files(self) -> float:
        """Swap a file in each style; return the seconds until the event log said that all are served."""
        made: dict[str, tuple[float, CertificatePair]] = {}
        with self.heard:
            before = dict(self.applied)
        for name, style in STYLES.items():
            pair = certify(name)
            made[name] = time.monotonic(), pair
            style(self.home / name, pair.chain_pem + pair.key_pem)
        with self.heard:
            done = self.heard.wait_for(
                lambda: all(self.applied[name] > before.get(name, 0) for name in STYLES), PATIENCE
            )
        if not done:
            raise RuntimeError("a changed file was not taken in time")
        now = time.monotonic()
        for name, (began, pair) in made.items():
            self.histories[name].append(Swap(began, now, pair.fingerprint))
        return now - min(began for began, _ in made.values())

    def look(self, names: Iterable[str]) -> list[Handshake]:
        """Make new connections, for certificates that were acknowledged just now."""
        tls, place = swap_clients.context(), Place(self.port, (), ())
        found = []
        for name in names:
            sock, seen = swap_clients.shaken(place, name, tls)
            sock.close()
            found.append(seen)
        return found
