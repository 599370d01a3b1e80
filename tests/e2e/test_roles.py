"""The three roles as real processes: start, reload, death of each of them, drain and stop."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.restless import Load
from support.roles import PATIENCE, Gateway, Upstream, until

from gateway.certs.self_signed import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create()


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream("first") as server:
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def other_upstream() -> Iterator[Upstream]:
    with Upstream("second") as server:
        yield server
        server.shutdown()


@pytest.fixture
def prepared(tmp_path: Path, authority: Authority, upstream: Upstream) -> Gateway:
    return Gateway(tmp_path, authority, upstream)


@pytest.fixture
def gateway(prepared: Gateway) -> Iterator[Gateway]:
    try:
        prepared.started()
        yield prepared
    finally:
        prepared.end()


def test_it_serves_and_tells_how_it_is(gateway: Gateway) -> None:
    line = gateway.hear("gateway.started")
    assert f"address=127.0.0.1:{gateway.port} " in line
    assert "workers=2" in line
    assert gateway.get() == "first"
    body = gateway.health()
    assert body["status"] == "pass"
    assert {name: part["status"] for name, part in body["details"].items()} == dict.fromkeys(
        ("workers", "handshakes", "store", "configuration", "certificates"), "pass"
    )


def test_a_first_start_makes_a_secret_and_tells_only_where(gateway: Gateway) -> None:
    secret = gateway.directory / "data" / "admin.secret"
    gateway.signal(signal.SIGTERM)
    log = gateway.rest()
    assert f"path={secret}" in log
    assert secret.stat().st_mode & 0o777 == 0o600
    assert secret.read_text().strip() not in log


def test_a_reload_applies_apis_and_certificates_and_drops_nobody(gateway: Gateway, other_upstream: Upstream) -> None:
    with contextlib.closing(gateway.connect()) as before:
        old = before.serial
        assert before.get() == "first"
        new = gateway.certify("a.test")
        added = gateway.certify("b.test")
        gateway.settings["http_server_options"]["ssl_certificates"].append("b.test.pem")
        gateway.settings["apis"] = [gateway.api(name, other_upstream) for name in ("a.test", "b.test")]
        gateway.configure()
        gateway.signal(signal.SIGHUP)
        line = gateway.hear("reload.applied")
        assert 'generation=2 certificates_changed="(default), a.test, b.test" workers=2' in line
        assert (before.get(), before.serial) == ("second", old)
    for name, serial in (("a.test", new), ("b.test", added)) * 4:
        with contextlib.closing(gateway.connect(name)) as connection:
            assert (connection.serial, connection.get()) == (serial, "second")


def test_a_reload_of_something_broken_keeps_what_runs_and_says_why(gateway: Gateway) -> None:
    file = gateway.directory / "gateway.yaml"
    good = file.read_text()
    file.write_text("listen_prot: 1\n")
    gateway.signal(signal.SIGHUP)
    assert "gateway.yaml" in gateway.hear("configuration.problem")
    assert "generation 1 keeps serving" in gateway.hear("reload.refused")
    assert gateway.get() == "first"
    body = gateway.health()
    assert (body["status"], body["details"]["configuration"]["status"]) == ("warn", "warn")
    assert "gateway.yaml" in body["details"]["configuration"]["output"]
    assert gateway.ask_control("/ready")[0] == 200
    file.write_text(good)
    gateway.signal(signal.SIGHUP)
    gateway.hear("reload.applied", generation="1")
    until(lambda: gateway.health()["status"] == "pass")


def test_a_certificate_that_broke_keeps_its_last_good_state_and_harms_no_other(gateway: Gateway) -> None:
    file = gateway.directory / "a.test.pem"
    good = file.read_text()
    with contextlib.closing(gateway.connect()) as before:
        serial = before.serial
    added = gateway.certify("b.test")
    gateway.settings["http_server_options"]["ssl_certificates"].append("b.test.pem")
    gateway.configure()
    file.write_text("garbage")
    gateway.signal(signal.SIGHUP)
    assert "a.test.pem" in gateway.hear("configuration.problem")
    gateway.hear("reload.applied")
    for name, shown in (("a.test", serial), ("b.test", added)):
        with contextlib.closing(gateway.connect(name)) as connection:
            assert connection.serial == shown
    until(lambda: "a.test.pem" in gateway.health()["details"]["certificates"].get("output", ""))
    status, body = gateway.ask_control("/ready")
    assert (status, body["details"]["certificates"]["status"]) == (200, "warn")
    file.write_text(good)
    gateway.signal(signal.SIGHUP)
    gateway.hear("reload.applied")
    until(lambda: gateway.health()["status"] == "pass")


def test_a_setting_that_needs_a_restart_is_told_and_the_rest_applied(
    gateway: Gateway, other_upstream: Upstream
) -> None:
    gateway.settings["gateway"]["workers"] = 1
    gateway.settings["apis"] = [gateway.api("a.test", other_upstream)]
    gateway.configure()
    gateway.signal(signal.SIGHUP)
    assert "gateway.workers changed" in gateway.hear("reload.restart_needed")
    gateway.hear("reload.applied")
    assert gateway.get() == "second"


def test_a_killed_worker_is_replaced_while_the_others_serve(gateway: Gateway) -> None:
    victim = gateway.hear("worker.started", worker="1").split(" pid=")[1].split()[0]
    os.kill(int(victim), signal.SIGKILL)
    assert "worker 1 was killed by SIGKILL; another one starts at once" in gateway.hear("child.died", child=victim)
    for _ in range(20):
        assert gateway.get() == "first"
    assert f"pid={victim} " not in gateway.hear("worker.started", worker="1")
    until(gateway.ready)


def test_a_killed_control_is_replaced_and_traffic_never_notices(gateway: Gateway, other_upstream: Upstream) -> None:
    victim = gateway.hear("control.started").split(" pid=")[1].split()[0]
    with contextlib.closing(gateway.connect()) as connection:
        os.kill(int(victim), signal.SIGKILL)
        for _ in range(20):
            assert connection.get() == gateway.get() == "first"
        gateway.hear("control.started")
        until(gateway.ready)
        gateway.settings["apis"] = [gateway.api("a.test", other_upstream)]
        gateway.configure()
        gateway.signal(signal.SIGHUP)
        gateway.hear("reload.applied", generation="2")
        assert connection.get() == "second"


def test_a_reload_asked_for_while_control_is_dead_is_not_forgotten(gateway: Gateway) -> None:
    victim = gateway.hear("control.started").split(" pid=")[1].split()[0]
    gateway.signal(signal.SIGSTOP)
    os.kill(int(victim), signal.SIGKILL)
    gateway.signal(signal.SIGHUP)
    gateway.signal(signal.SIGCONT)
    gateway.hear("control.started")
    gateway.hear("reload.applied", generation="1")


def test_resizing_under_load_loses_nothing(gateway: Gateway) -> None:
    with Load(gateway) as load:
        for number, change in ((signal.SIGTTIN, "worker.started"), (signal.SIGTTOU, "child.ended")) * 2:
            gateway.signal(number)
            gateway.hear("workers.resized")
            gateway.hear(change)
            load.goes_on()


def test_workers_are_added_and_taken_away_by_signals(gateway: Gateway) -> None:
    gateway.signal(signal.SIGTTIN)
    gateway.hear("workers.resized", workers="3")
    gateway.hear("worker.started", worker="3")
    until(gateway.ready)
    assert len(gateway.children()) == 4
    for left in (2, 1):
        gateway.signal(signal.SIGTTOU)
        gateway.hear("child.ended")
        assert len(gateway.children()) == left + 1
    gateway.signal(signal.SIGTTOU)
    until(gateway.ready)
    assert gateway.get() == "first"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_stop_finishes_what_runs_and_leaves_nothing_behind(
    gateway: Gateway, upstream: Upstream, number: signal.Signals
) -> None:
    upstream.entered.clear()
    upstream.go_on.clear()
    with contextlib.closing(gateway.connect()) as running:
        running.send("/slow")
        assert upstream.entered.wait(PATIENCE)
        gateway.signal(number)
        gateway.hear("gateway.stopping")
        until(
            lambda: gateway.ask_control("/ready") == (503, {"status": "error", "message": "Gateway is shutting down"})
        )
        until(lambda: refuses(gateway.port))
        upstream.go_on.set()
        assert running.receive() == "first"
    assert "worker.cut" not in gateway.rest()
    assert gateway.process.wait(PATIENCE) == 0
    assert refuses(gateway.control_port)


def test_a_delayed_stop_serves_on_and_is_not_ready_until_a_second_signal_ends_the_delay(prepared: Gateway) -> None:
    prepared.settings["graceful_shutdown_delay_seconds"] = 600
    prepared.configure()
    try:
        prepared.started()
        with Load(prepared) as load:
            prepared.signal(signal.SIGTERM)
            prepared.hear("gateway.leaving", seconds="600")
            until(lambda: prepared.ask_control("/ready")[0] == 503)
            load.goes_on()
            os.kill(prepared.children()[0], signal.SIGKILL)  # workers are forked first
            prepared.hear("child.died")
            prepared.hear("worker.started")
        assert prepared.get() == "first"
        prepared.signal(signal.SIGTERM)
        prepared.hear("gateway.stopping", signal="SIGTERM")
        assert prepared.process.wait(PATIENCE) == 0
    finally:
        prepared.end()


def test_a_delayed_stop_ends_by_itself(prepared: Gateway) -> None:
    prepared.settings["graceful_shutdown_delay_seconds"] = 0.2
    prepared.configure()
    try:
        prepared.started()
        prepared.signal(signal.SIGTERM)
        assert prepared.process.wait(PATIENCE) == 0
        assert "event=gateway.leaving" in prepared.rest()
    finally:
        prepared.end()


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it came in the very moment of closing
        return False
    return False


def test_a_request_that_outlasts_the_drain_time_is_cut_and_counted(prepared: Gateway, upstream: Upstream) -> None:
    prepared.settings["gateway"]["limits"] = {"drain_timeout": 0.3}
    prepared.configure()
    upstream.entered.clear()
    upstream.go_on.clear()
    try:
        prepared.started()
        with contextlib.closing(prepared.connect()) as running:
            running.send("/slow")
            assert upstream.entered.wait(PATIENCE)
            prepared.signal(signal.SIGTERM)
            prepared.hear("worker.cut", requests="1")
            prepared.hear("gateway.cut", requests="1\n")
            assert prepared.process.wait(PATIENCE) == 0
    finally:
        upstream.go_on.set()
        prepared.end()


def test_a_second_interrupt_stops_at_once(gateway: Gateway, upstream: Upstream) -> None:
    upstream.entered.clear()
    upstream.go_on.clear()
    with contextlib.closing(gateway.connect()) as running:
        running.send("/slow")
        assert upstream.entered.wait(PATIENCE)
        gateway.signal(signal.SIGINT)
        gateway.hear("gateway.stopping")
        gateway.signal(signal.SIGINT)
        gateway.hear("gateway.killing")
        assert gateway.process.wait(PATIENCE) == 0
    upstream.go_on.set()


def test_when_the_supervisor_is_killed_its_children_end_and_another_gateway_can_start(gateway: Gateway) -> None:
    gateway.signal(signal.SIGKILL)
    assert gateway.process.wait(PATIENCE) == -signal.SIGKILL
    assert "event=supervisor.gone" in gateway.rest()
    gateway.started()
    assert gateway.get() == "first"


def refused_start(gateway: Gateway) -> str:
    """Start a gateway that shall refuse to; return what it says."""
    gateway.start()
    said = gateway.rest()
    assert gateway.process.wait(PATIENCE) == 2
    return said


def test_a_broken_configuration_is_refused_with_every_problem(prepared: Gateway) -> None:
    prepared.settings["listen_port"] = "many"
    prepared.settings["gateway"]["wokers"] = 2
    prepared.configure()
    said = refused_start(prepared)
    assert "listen_port" in said
    assert "wokers" in said
    assert "Traceback" not in said


def test_when_no_certificate_can_be_used_the_start_is_refused(prepared: Gateway) -> None:
    prepared.settings["http_server_options"]["ssl_certificates"] = ["missing.pem", "gateway.yaml"]
    prepared.configure()
    said = refused_start(prepared)
    assert "ssl_certificates[0]" in said
    assert "ssl_certificates[1]" in said
    assert not (prepared.directory / "data").exists()


def test_a_port_in_use_is_refused_at_start(prepared: Gateway) -> None:
    with socket.create_server(("127.0.0.1", prepared.port)):
        said = refused_start(prepared)
    assert f"error: listen_port: cannot listen on 127.0.0.1 port {prepared.port}: Address already in use" in said


def test_a_data_directory_in_use_is_refused_at_start(
    gateway: Gateway, authority: Authority, upstream: Upstream
) -> None:
    second = Gateway(gateway.directory, authority, upstream)
    assert "in use by another gateway" in refused_start(second)
    assert gateway.get() == "first"


def test_a_damaged_database_is_refused_at_start_with_the_cure(prepared: Gateway) -> None:
    (prepared.directory / "data").mkdir()
    (prepared.directory / "data" / "gateway.db").write_bytes(b"damaged" * 1000)
    said = refused_start(prepared)
    assert "gateway.db is damaged: file is not a database; restore a backup" in said
    subprocess.run(said[said.rindex("(cd ") :], shell=True, check=True)
    prepared.started()


def test_damaged_rows_take_neither_control_nor_a_start_down(gateway: Gateway) -> None:
    def damage(statement: str) -> None:
        database = gateway.directory / "data" / "gateway.db"
        with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
            connection.execute(statement)

    def newest() -> str:
        with contextlib.closing(sqlite3.connect(gateway.directory / "data" / "gateway.db")) as connection:
            query = "SELECT hex(content) FROM configurations ORDER BY configuration DESC LIMIT 1"
            return str(connection.execute(query).fetchone()[0])

    before = gateway.children()
    damage("INSERT INTO crls VALUES ('clients', 'nonsense')")
    gateway.signal(signal.SIGHUP)
    assert "clients" in gateway.hear("store.damaged")
    until(lambda: "or deleted: clients" in str(gateway.health()["details"]["certificates"]))
    damage("UPDATE configurations SET content = X'00'")
    gateway.signal(signal.SIGHUP)
    until(lambda: newest() != "00")
    until(gateway.ready)
    assert (gateway.get(), gateway.children()) == ("first", before)
    gateway.end()
    damage("UPDATE configurations SET content = X'01ff'")
    gateway.started()
    assert gateway.get() == "first"
