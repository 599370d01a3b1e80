"""From certificate files to what they hold, reading only those that are not as they were at their last reading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from gateway.certs.blocks import MAX_BYTES
from gateway.certs.dates import check_dates, quiet_period
from gateway.certs.pem import CertificatePair, parse_pair
from gateway.config.problems import Problem, Severity
from gateway.files import first_line
from gateway.store import file_status, readings
from gateway.store.materials import Kept
from gateway.store.readings import Reading, Readings

if TYPE_CHECKING:
    from datetime import datetime

    from gateway.store.readings import Remembered
    from gateway.store.sqlite import Store


@dataclass(frozen=True, slots=True)
class Files:
    """The files of one certificate. With no ``key`` it is in the certificate's own file."""

    certificate: str
    key: str = ""
    chain: str = ""
    passphrase_file: str = ""

    @property
    def others(self) -> str:
        """All but the first, as a reading names them."""
        return "\n".join((self.key, self.chain, self.passphrase_file)).rstrip("\n")


class Held(NamedTuple):
    """The contents of files. ``problems`` are warnings; those without a source are about all of the contents.

    ``early`` is true when the certificate is not valid yet.
    """

    pair: CertificatePair | Kept
    names: tuple[str, ...]
    problems: tuple[Problem, ...] = ()
    early: bool = False


class CertificateReader:
    """Reads certificate files, as of ``now`` (aware). What it finds unchanged it has from ``store``, if that is given.

    ``most`` is how many it may read anew, None for all.
    """

    def __init__(self, now: datetime, store: Store | None, most: int | None) -> None:
        self._now = now
        self._seconds = now.timestamp()
        self._store = store
        self._left = most
        self._near: dict[str, Remembered] = {}
        self._new: list[Reading] = []
        self._unchanged: set[str] = set()

    @property
    def exhausted(self) -> bool:
        """Whether it has read as many as it may."""
        return self._left == 0

    def readings(self) -> Readings:
        """Everything to be remembered for the next time."""
        return Readings(tuple(self._new), self._unchanged)

    def approach(self, first: str, last: str) -> None:
        """Get ready to `recall` what is sorted between these two: together they cost less than one by one."""
        self._near = self._store.readings(first, last) if self._store else {}

    def recall(self, source: str, *others: str) -> Held | None:
        """Return what a file holds if it is as it was when it was read together with ``others``: any of these texts."""
        if self._store is None:
            return None
        if (reading := self._near.get(source)) is None and (reading := self._remembered(source)) is None:
            return None
        _, read_with, status, material, key_type, names, remarks, begin, end = reading
        if not readings.is_sound(reading):
            return None
        if read_with not in others or status != _statuses(source, read_with):
            return None
        self._unchanged.add(source)
        problems = readings.remarked(remarks) if remarks else ()
        if not begin <= self._seconds <= end:
            problems += check_dates(self._store.chain(material), self._now)
        return Held(Kept(material, key_type), tuple(names.split()), problems, self._seconds < begin - 1)

    def read(self, files: Files, passphrase: bytes | None = None) -> tuple[CertificatePair, Reading]:
        """Read and check the files. Raises OSError and CertificateError."""
        if self._left:
            self._left -= 1
        look = _Look()
        certificate = look.at(files.certificate)
        key = look.at(files.key) if files.key else None
        chain = look.at(files.chain) if files.chain else b""
        reliable = passphrase is None  # one that is written into the configuration may change with that
        if files.passphrase_file:
            passphrase = first_line(look.at(files.passphrase_file))
        pair, warnings = parse_pair(certificate, key, chain_pem=chain, passphrase=passphrase)
        remarks = [Problem(Severity.WARNING, "", "", warning) for warning in warnings]
        keys_in = files.key or files.certificate
        if look.modes[keys_in] & 0o007:
            message, cure = "every user of this host can read the private key", f"chmod o= {keys_in}"
            remarks.append(Problem(Severity.WARNING, "", keys_in, message, cure))
        begin, end = quiet_period(pair.chain)
        return pair, Reading(
            files.certificate, files.others, "\n".join(look.statuses) if reliable and look.reliable else "", pair,
            " ".join(pair.names), readings.written(remarks), int(begin.timestamp()) + 1, int(end.timestamp()) - 1,
        )  # fmt: skip

    def accept(self, pair: CertificatePair, reading: Reading) -> Held:
        """Remember what was read, unless the files may change unnoticed, and return it."""
        if reading.status:
            self._new.append(reading)
        problems = readings.remarked(reading.remarks) + check_dates(pair.chain, self._now)
        return Held(pair, pair.names, problems, self._now < pair.not_before)

    def _remembered(self, source: str) -> Remembered | None:
        assert self._store
        return self._store.readings(source, source).get(source)


class _Look:
    """Files as they were when they were read. ``reliable`` is whether they will show it when they change."""

    def __init__(self) -> None:
        self.statuses: list[str] = []
        self.modes: dict[str, int] = {}
        self.reliable = True

    def at(self, path: str) -> bytes:
        content, status = file_status.read(path, MAX_BYTES + 1)
        self.statuses.append(file_status.text(status))
        self.modes[path] = status[0] if status else 0
        self.reliable &= bool(status) and not file_status.is_young(status)
        return content


def _statuses(source: str, others: str) -> str:
    if not others:
        return file_status.text_of(source)
    return "\n".join(map(file_status.text_of, [source, *filter(None, others.split("\n"))]))
