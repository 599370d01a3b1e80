"""Many domains, each with its own certificate: `python -m bench.scale` (see README.md).

The certificates are self-signed, of one EC key, and go straight into the store: what is measured is how the gateway
bears them, not how they came. One gateway has ten domains, the other has them all, and both are asked the same.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import hashlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from bench.loads import client_context
from bench.measure import PROC, parse_pss, session
from bench.report import number
from bench.servers import HERE, free_ports
from gateway.certs.pem import CertificatePair
from gateway.runtime import renewal
from gateway.store import generations, materials
from gateway.store.audit import Deed
from gateway.store.database import DATABASE, Database

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Iterator, Mapping

FEW = 10
WORKERS = 2
ACTIVE_SITES = 500
SWAPS_TIMED = 100
SWAPS_IN_A_ROW = 1000
STARTS = 3
SECRET = "bench"
START_SECONDS = 300.0
SWAPPING_SECONDS = 300.0
KEY = ec.generate_private_key(ec.SECP256R1())


def name_of(index: int) -> str:
    """Name a domain."""
    return f"d{index}.bench.test"


def certify(name: str) -> CertificatePair:
    """Make a new certificate for a name, of the one key."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, KEY.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=90))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(KEY, hashes.SHA256())
    )
    return CertificatePair((certificate,), KEY, (name,))


def fill(data_dir: Path, config: Path, count: int) -> None:
    """Make a store that serves `count` domains, in one transaction beside the first generation's."""
    renewal.publish(data_dir, renewal.read(config, {}), Deed("bench", "", "fill", str(config)))
    database = Database.open(data_dir, writable=True)
    with contextlib.closing(database.connection), database.writing():
        generation = generations.succeed(database, "bench")
        for index in range(count):
            material = materials.keep(database, certify(name_of(index)))
            database.execute(
                "INSERT INTO domains (name, key_type, material, generation) VALUES (?, 'ec', ?, ?)",
                (name_of(index), material, generation),
            )


@dataclass(slots=True)
class Gateway:
    """A gateway with some domains; it runs as the leader of its own session."""

    home: Path
    domains: int
    port: int
    control: int
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def prepare(cls, home: Path, domains: int) -> Gateway:
        """Configure it."""
        home.mkdir()
        port, control = free_ports(2)
        settings = {
            "listen_address": "127.0.0.1",
            "listen_port": port,
            "control_api_port": control,
            "secret": SECRET,
            "http_server_options": {"use_ssl": True},
            "gateway": {"workers": WORKERS, "access_log": "off", "limits": {"active_sites": ACTIVE_SITES}},
            "apis": [{"name": "bench", "api_id": "bench", "use_keyless": True,
                      "proxy": {"listen_path": "/", "target_url": "http://127.0.0.1:1/"}}],
        }  # fmt: skip
        (home / "gateway.json").write_text(json.dumps(settings))
        return cls(home, domains, port, control)

    def start(self) -> float:
        """Start it, and give the seconds to the first handshake for one of its domains."""
        context, began = client_context(), time.monotonic()
        with (self.home / "output.log").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "serve", "--config", self.home / "gateway.json"],
                cwd=HERE.parent,
                env={name: value for name, value in os.environ.items() if not name.startswith("TYK_GW_")},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        while time.monotonic() < began + START_SECONDS and self.process.poll() is None:
            with contextlib.suppress(OSError):
                self.shown(random.randrange(self.domains), context)
                return time.monotonic() - began
            time.sleep(0.01)
        raise RuntimeError(f"no handshake; it said:\n{(self.home / 'output.log').read_text(errors='replace')[-1500:]}")

    def stop(self) -> None:
        """End all of it."""
        if self.process is None:
            return
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        for pid in session(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def shown(self, index: int, context: ssl.SSLContext) -> str:
        """Shake hands for a domain, and give the fingerprint of the certificate; OSError when there is none."""
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=10) as raw,
            context.wrap_socket(raw, server_hostname=name_of(index)) as tls,
        ):
            return hashlib.sha256(tls.getpeercert(binary_form=True) or b"").hexdigest()

    def visit(self, indices: Iterable[int]) -> None:
        """Shake hands for many domains, so often that every worker has seen about as many."""
        context = client_context()
        for index in indices:
            self.shown(index, context)

    def memory_mb(self) -> float:
        """Give the mean of the memory of its workers, which the kernel's listening socket tells from control."""
        assert self.process is not None
        listening = listening_inode(self.port)
        workers = [pid for pid in session(self.process.pid) if pid != self.process.pid and holds(pid, listening)]
        return sum(pss_mb(pid) for pid in workers) / len(workers)

    def all_memory_mb(self) -> float:
        """Give the memory of all of its processes."""
        assert self.process is not None
        return sum(map(pss_mb, session(self.process.pid)))

    def store_mb(self) -> float:
        """Give the size of its store, write-ahead log included."""
        return sum(file.stat().st_size for file in (self.home / "data").glob(f"{DATABASE}*")) / 1e6

    def swaps(self, count: int, among: int) -> Iterator[float]:
        """Swap certificates of the first so many domains, at random, and yield the seconds that each swap took.

        RuntimeError when one is refused, or not shown afterwards.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.control, timeout=30)
        context = client_context()
        with contextlib.closing(connection):
            for _ in range(count):
                index = random.randrange(among)
                pair = certify(name_of(index))
                body = pair.chain_pem + pair.key_pem
                began = time.monotonic()
                connection.request(
                    "PUT",
                    f"/tyk/domains/{name_of(index)}/certificate",
                    body,
                    {"X-Tyk-Authorization": SECRET, "Content-Type": "application/x-pem-file"},
                )
                answer = connection.getresponse()
                said = answer.read()
                taken = time.monotonic() - began
                if answer.status != 200:
                    raise RuntimeError(f"a swap was refused: {answer.status} {said.decode(errors='replace')[:500]}")
                if self.shown(index, context) != pair.fingerprint:
                    raise RuntimeError(f"{name_of(index)} does not show the certificate that was swapped in")
                yield taken


def pss_mb(pid: int) -> float:
    """Give the memory of a process."""
    return parse_pss((PROC / str(pid) / "smaps_rollup").read_text()) / 1024


def listening_inode(port: int) -> str:
    """Give the kernel's number of a listening socket."""
    for line in (PROC / "net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and fields[1].endswith(f":{port:04X}"):
            return fields[9]
    raise RuntimeError(f"nobody listens on port {port}")


def holds(pid: int, inode: str) -> bool:
    """Whether a process has it."""
    return any(str(fd.readlink()) == f"socket:[{inode}]" for fd in (PROC / str(pid) / "fd").iterdir())


def measure(gateway: Gateway) -> Iterator[tuple[str, str]]:
    """Yield each measure of a gateway with its value."""
    starts = []
    for _ in range(STARTS):
        gateway.stop()
        starts.append(gateway.start())
    yield "start to first handshake, s", number(median(starts))
    yield "store, MB", number(gateway.store_mb())
    yield "memory per worker after the start, MB", number(gateway.memory_mb())
    every = list(range(gateway.domains))
    random.shuffle(every)
    for rounds in (2, 6):
        gateway.visit(every[index % len(every)] for index in range(rounds * WORKERS * ACTIVE_SITES))
        title = f"memory per worker after handshakes for {rounds * WORKERS * ACTIVE_SITES:,} domains, MB"
        yield title, number(gateway.memory_mb())
    times = sorted(gateway.swaps(SWAPS_TIMED, gateway.domains))
    yield "swap through the API, ms, median", number(median(times) * 1e3)
    yield "swap through the API, ms, 95 of 100 are faster than", number(quantiles(times, n=20)[-1] * 1e3)
    for _ in gateway.swaps(SWAPS_TIMED, FEW):
        pass  # from now on each of them has a previous pair, as it will have after any further swap
    before, size = gateway.all_memory_mb(), gateway.store_mb()
    deadline, done = time.monotonic() + SWAPPING_SECONDS, 0
    for _ in gateway.swaps(SWAPS_IN_A_ROW, FEW):
        done += 1
        if time.monotonic() > deadline:
            break
    yield "more swaps in a row", str(done)
    yield "growth of all memory by them, MB", f"{gateway.all_memory_mb() - before:+.1f}"
    yield "growth of the store by them, MB", f"{gateway.store_mb() - size:+.1f}"


def tell(text: str) -> None:
    """Say what happens, beside the table on standard output."""
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--domains", type=int, default=100_000, help="how many the large gateway has (%(default)s)")
    parser.add_argument("--files", action="store_true", help="they are files, and not in the store")
    options = parser.parse_args()
    from bench import scale_files  # noqa: PLC0415 - it builds on this module

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    columns: dict[int, dict[str, str]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as base:
        for domains in (FEW, options.domains):
            began = time.monotonic()
            gateway = Gateway.prepare(Path(base, str(domains)), domains)
            if options.files:
                scale_files.write(gateway.home / "certs", range(domains))
            else:
                fill(gateway.home / "data", gateway.home / "gateway.json", domains)
            tell(f"{domains:,} certificates made and kept in {time.monotonic() - began:.0f} s")
            columns[domains] = column = {}
            try:
                for title, value in (scale_files.measure if options.files else measure)(gateway):
                    column[title] = value
                    tell(f"  {title}: {value}")
            finally:
                gateway.stop()
    print(table(columns))
    return 0


def table(columns: Mapping[int, Mapping[str, str]]) -> str:
    """Write the table in Markdown, a column for each number of domains."""
    headings = ["measure", *(f"{domains:,} domains" for domains in columns)]
    rows = [[title, *(column[title] for column in columns.values())] for title in next(iter(columns.values()))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (headings, ["---"] * len(headings), *rows))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
