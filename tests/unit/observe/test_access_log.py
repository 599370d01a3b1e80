"""The access log: whole lines, valid JSON whatever clients send, and no harm when nobody takes the lines."""

from __future__ import annotations

import json
import os
import re
from time import monotonic
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from gateway.http.downstream import Peer
from gateway.observe import access_log
from gateway.observe.access_log import AccessLog, Record

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

PEER = Peer(
    "192.0.2.1",
    443,
    trusted=False,
    forwarded_lines=b"",
    server_name='odd"\\name',
    tls_version="TLSv1.3",
    tls_cipher="C",
)


def record(target: bytes = b"/x", status: int = 200) -> Record:
    return (
        monotonic(), "192.0.2.1", PEER, b"a.test", b"GET", target, 1,
        status, 3, 97, 0.0123, "http://u:1", 0.01, b"id-1",
    )  # fmt: skip


def log(path: Path | str, style: str = "json") -> tuple[AccessLog, list[int]]:
    lost: list[int] = []
    return AccessLog(style, str(path), lost.append), lost  # type: ignore[arg-type]


def test_a_line_says_everything_that_matters(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    target, _ = log(path)
    target.append(record(b'/q?"\\'))
    target.close()
    line = json.loads(path.read_text())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {
        "client": "192.0.2.1", "server_name": 'odd"\\name', "host": "a.test", "method": "GET", "target": '/q?"\\',
        "protocol": "HTTP/1.1", "status": 200, "received": 3, "sent": 97, "us": 12300, "upstream": "http://u:1",
        "upstream_us": 10000, "tls": "TLSv1.3", "cipher": "C", "request_id": "id-1",
    }  # fmt: skip


@given(st.binary(max_size=30).map(lambda raw: bytes(byte for byte in raw if 0x20 < byte < 0x7F)))
def test_every_target_that_the_grammar_allows_makes_valid_json(target: bytes) -> None:
    assert json.loads(access_log._json_line(record(target), 0.0))["target"] == target.decode()


def test_the_common_format(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    target, _ = log(path, "common")
    target.append(record(b'/a"b'))
    target.close()
    assert re.fullmatch(
        r'192\.0\.2\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000\] "GET /a\\"b HTTP/1\.1" 200 97\n', path.read_text()
    )


def test_batches_are_written_when_they_are_full_and_the_rest_at_the_tick(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    target, _ = log(path)
    for _ in range(70):
        target.append(record())
    assert 0 < path.read_text().count("\n") < 70
    target.flush()
    assert path.read_text().count("\n") == 70
    target.close()


def test_a_rotated_file_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    target, _ = log(path)
    target.append(record())
    target.flush()
    path.rename(tmp_path / "access.log.1")
    target.append(record(status=404))
    target.flush()
    target.close()
    assert json.loads((tmp_path / "access.log.1").read_text())["status"] == 200
    assert json.loads(path.read_text())["status"] == 404


def test_the_file_is_not_readable_by_strangers(tmp_path: Path) -> None:
    target, _ = log(tmp_path / "access.log")
    target.close()
    assert (tmp_path / "access.log").stat().st_mode & 0o007 == 0


def test_a_full_disk_loses_lines_and_says_how_many() -> None:
    target, lost = log("/dev/full")
    target._is_file = True
    for _ in range(3):
        target.append(record())
    target.flush()
    assert lost == [3]
    target.close()


def test_a_pipe_that_nobody_reads_fills_a_bounded_buffer_and_blocks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    monkeypatch.setattr(access_log, "_MAX_WAITING_BYTES", 20_000)
    target, lost = log("stdout")
    target._fd = writing
    target._writable = access_log.select.poll()
    target._writable.register(writing, access_log.select.POLLOUT)
    target._is_file = False
    for _ in range(2000):
        target.append(record())
    waiting = len(target._waiting)
    assert 20_000 < waiting < 60_000
    received = b""
    while target._waiting:
        received += os.read(reading, 1 << 20)
        target.flush()
    assert lost
    received += os.read(reading, 1 << 20)
    lines = received.decode().splitlines()
    assert all(json.loads(line)["status"] == 200 for line in lines)
    assert len(lines) + sum(lost) == 2000
    os.close(reading)
    os.close(writing)


def test_trouble_is_told_before_a_log_is_opened(tmp_path: Path) -> None:
    assert access_log.trouble("stdout") == access_log.trouble(str(tmp_path / "new.log")) == ""
    assert "directory" in access_log.trouble(str(tmp_path / "nowhere" / "x.log"))
    assert "not a file" in access_log.trouble(str(tmp_path))
    assert "too long" in access_log.trouble(str(tmp_path / ("x" * 300)))
    assert list(tmp_path.iterdir()) == []
