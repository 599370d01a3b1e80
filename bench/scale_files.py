"""Many certificates as files of `certs/`, and many that are imported: `python -m bench.scale --files`."""

from __future__ import annotations

import http.client
import json
import os
import random
import subprocess
import sys
import time
from contextlib import closing
from statistics import median
from typing import TYPE_CHECKING

from bench.loads import client_context
from bench.measure import session
from bench.report import number
from bench.scale import SECRET, STARTS, Gateway, certify, holds, listening_inode, name_of, pss_mb
from bench.servers import HERE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IMPORTED = 2000
CHANGES = 5
CALM_TICKS = 2
"""So little CPU time in a second is that of somebody who has nothing to do."""


def write(directory: Path, indices: range) -> None:
    """Write a bundle for each domain; they are old enough at the end for their times to be trusted."""
    directory.mkdir()
    for index in indices:
        rewrite(directory, index)
    time.sleep(2.5)


def rewrite(directory: Path, index: int) -> str:
    """Write a new bundle for a domain, and give its fingerprint."""
    pair = certify(name_of(index))
    file = directory / f"{name_of(index)}.pem"
    fresh = os.open(f"{file}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(fresh, pair.chain_pem + pair.key_pem)
    os.close(fresh)
    file.with_name(f"{file.name}.new").rename(file)
    return pair.fingerprint


class Control:
    """The control process of a gateway: its CPU time and its memory."""

    def __init__(self, gateway: Gateway) -> None:
        assert gateway.process is not None
        inode, self._leader = listening_inode(gateway.control), gateway.process.pid
        (self.pid,) = (pid for pid in session(self._leader) if pid != self._leader and holds(pid, inode))

    def cpu(self) -> float:
        """Give the seconds that it has used."""
        return session(self._leader)[self.pid] / os.sysconf("SC_CLK_TCK")

    def calm(self) -> None:
        """Wait until it has nothing to do."""
        before = self.cpu()
        while True:
            time.sleep(1)
            if (now := self.cpu()) - before <= CALM_TICKS / os.sysconf("SC_CLK_TCK"):
                return
            before = now


def measure(gateway: Gateway) -> Iterator[tuple[str, str]]:
    """Yield each measure of a gateway with its value."""
    yield "first start, every file read: to first handshake, s", number(gateway.start())
    starts = []
    for _ in range(STARTS):
        gateway.stop()
        starts.append(gateway.start())
    yield "start, no file changed: to first handshake, s", number(median(starts))
    control = Control(gateway)
    control.calm()
    yield "memory of control, MB", number(pss_mb(control.pid))
    yield "memory per worker, MB", number(gateway.memory_mb())
    waits, spent = [], []
    for _ in range(CHANGES):
        index, before, began = random.randrange(gateway.domains), control.cpu(), time.monotonic()
        fingerprint, context = rewrite(gateway.home / "certs", index), client_context()
        while gateway.shown(index, context) != fingerprint:
            time.sleep(0.02)
        waits.append(time.monotonic() - began)
        control.calm()
        spent.append(control.cpu() - before)
    yield "one file changed: until it is shown, s", number(median(waits))
    yield "one file changed: CPU time of control, s", number(median(spent))
    waits = [reload(gateway) for _ in range(CHANGES)]
    yield "reload, nothing changed, s", number(median(waits))
    yield "memory of control after all that, MB", number(pss_mb(control.pid))
    yield f"import of {IMPORTED:,} certificates, ms each", number(1000 * import_(gateway) / IMPORTED)


def reload(gateway: Gateway) -> float:
    """Reload, and give the seconds that it took. RuntimeError when anything had changed."""
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", gateway.control, timeout=60)
    with closing(connection):
        connection.request("GET", "/tyk/reload?block=true", headers={"X-Tyk-Authorization": SECRET})
        answer = json.loads(connection.getresponse().read())
    if answer.get("message") != "nothing has changed":
        raise RuntimeError(f"the reload said {answer}")
    return time.monotonic() - began


def import_(gateway: Gateway) -> float:
    """Import certificates for other domains with the command, and give the seconds that it took."""
    write(gateway.home / "imported", range(gateway.domains, gateway.domains + IMPORTED))
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "gateway", "cert", "import", gateway.home / "imported",
         "--config", gateway.home / "gateway.json"],
        cwd=HERE.parent, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return time.monotonic() - began
