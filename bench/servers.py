"""The fronts and the upstream behind them: started on their cores in a temporary directory, and always ended.

Their configurations are in ``fronts/``, with @WORDS@ for what differs from run to run. They are equal:
TLS 1.2 and 1.3 with the same suites; an ECDSA certificate for `localhost` and an RSA one for `rsa.localhost`,
chosen by server name; HTTP/1.1 and HTTP/2; stateless tickets; forwarding fields set; connections to the upstream kept;
bodies streamed; one access-log line per request, in a file; one worker or thread.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from bench.loads import BULK_BYTES, idle_connections
from bench.measure import session

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
NAMES = ("localhost", "rsa.localhost")
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"  # where a user's PATH often does not reach
DEADLINE = 20.0  # seconds for a front to answer its first request, or to end when told to
COMMANDS = {
    "ours": ("gateway.json", f"{sys.executable} -m gateway serve --config"),
    "hostile": ("hostile.json", f"{sys.executable} -m gateway serve --config"),
    "nginx": ("nginx.conf", "nginx -e stderr -c"),
    "haproxy": ("haproxy.cfg", "haproxy -db -f"),
    "caddy": ("Caddyfile", "caddy run --config"),
    "upstream": ("upstream.conf", "nginx -e stderr -c"),
}
FRONTS = ("ours", "nginx", "haproxy", "caddy")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server lives: its own directory, beside the certificates; its port, and the upstream's."""

    home: Path
    port: int
    upstream: int

    @property
    def output(self) -> Path:
        """What the server prints."""
        return self.home / "output.log"

    def fill(self, text: str) -> str:
        """Put this place into a configuration."""
        words = {
            "HOME": self.home,
            "PAIRS": self.home.parent,
            "PORT": self.port,
            "SPARE": free_ports(1)[0],
            "UPSTREAM": self.upstream,
            # nginx as root would run its worker under a name that cannot read the temporary directory.
            "USER": "user root;" if os.geteuid() == 0 else "",
        }
        for word, value in words.items():
            text = text.replace(f"@{word}@", str(value))
        return text


def make_certificates(directory: Path) -> None:
    """Write a self-signed pair for each of NAMES, valid for a day: ECDSA P-256, then RSA-2048."""
    now = dt.datetime.now(dt.UTC)
    keys = (ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048))
    for name, key in zip(NAMES, keys, strict=True):
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        certificate = (
            x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .sign(key, hashes.SHA256())
        )
        public = certificate.public_bytes(serialization.Encoding.PEM)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        for kind, content in (("crt", public), ("key", private), ("pem", public + private)):
            path = directory / f"{name}.{kind}"
            path.touch(mode=0o600)
            path.write_bytes(content)


def which(name: str) -> str | None:
    """Give the path of an installed program."""
    return shutil.which(name, path=PATH)


def free_ports(count: int) -> list[int]:
    """Let the kernel choose ports that are free on loopback."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def prepare(name: str, place: Place) -> list[str]:
    """Write what a server reads, and give its command."""
    place.home.mkdir()
    file, command = COMMANDS[name]
    if name == "upstream":
        with (place.home / "bulk").open("wb") as bulk:
            bulk.truncate(BULK_BYTES)
        if not which("nginx"):
            return [sys.executable, "-m", "bench.upstream", str(place.port), str(BULK_BYTES)]
    (place.home / file).write_text(place.fill((HERE / "fronts" / file).read_text()))
    return [*command.split(), str(place.home / file)]


@contextlib.contextmanager
def running(name: str, place: Place, cores: set[int]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server on some cores; whatever happens, all of its session is gone afterwards."""
    command, mine = prepare(name, place), os.sched_getaffinity(0)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TYK_GW_")}
    environment |= dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), str(place.home))
    os.sched_setaffinity(0, cores)  # inherited by the child, before it can start a thread
    try:
        with place.output.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=HERE.parent,
                env=environment | {"PATH": PATH, "GOMAXPROCS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # measure.py counts by it; Ctrl-C is for us, who end it
            )
    finally:
        os.sched_setaffinity(0, mine)
    try:
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(DEADLINE)
        for pid in session(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def await_answer(process: subprocess.Popen[bytes], place: Place) -> None:
    """Wait for a front's first answer; RuntimeError with the end of its output when there is none in time."""
    deadline = time.monotonic() + DEADLINE
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with idle_connections(place.port, 1):
                return
        except (OSError, HTTPException, RuntimeError):
            time.sleep(0.1)
    said = place.output.read_text(errors="replace")[-1500:]
    raise RuntimeError(f"no answer (exit status {process.poll()}); it said:\n{said}")
