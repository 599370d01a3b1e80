"""Whom the commands believe, shown with handshakes."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from support.handshake import policy, shake

from gateway.certs.self_signed import Authority, self_signed
from gateway.cli.trust import Trust, is_distrust
from gateway.config.load import Configuration
from gateway.config.settings import ControlTls, Settings
from gateway.store.sites import CONTROL_PORT, SiteEntry
from gateway.store.sqlite import Store
from gateway.tls.context import build_site

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.certs.pem import CertificatePair

AUTHORITY = Authority.create()
OWN = ControlTls(certificate="/control.pem")
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def believes(trust: Trust, pair: CertificatePair) -> bool:
    result = shake(build_site("control", (pair,), policy()), trust.context())
    assert result.done or is_distrust(result.client_error)
    return result.done


def stored(data_dir: Path, pair: CertificatePair) -> Trust:
    with closing(Store.open(data_dir, writable=True)) as store:
        configuration = Configuration(settings=Settings(), apis=(), warnings=(), files=())
        store.publish(configuration, [SiteEntry(CONTROL_PORT, pair, "")], None, "test")
    return Trust(own=OWN, data_dir=data_dir)


@pytest.mark.parametrize(
    "pair",
    [
        self_signed("a.test"),
        self_signed("elsewhere.test"),
        self_signed("a.test", days=1, now=LONG_AGO),
        AUTHORITY.leaf("elsewhere.test", key="rsa2048"),
    ],
    ids=["self-signed", "of another name", "expired", "of an unknown CA"],
)
def test_what_the_store_of_this_host_has_is_believed_and_nothing_else(tmp_path: Path, pair: CertificatePair) -> None:
    trust = stored(tmp_path, pair)
    assert believes(trust, pair)
    assert not believes(trust, self_signed(*pair.names))
    assert not believes(trust, AUTHORITY.leaf(*pair.names))


def test_a_file_is_believed_in_the_place_of_the_store_and_names_and_dates_count(tmp_path: Path) -> None:
    own, file = self_signed("a.test"), tmp_path / "trusted.pem"
    stored(tmp_path, own)
    for trusted, good in ((AUTHORITY.pair, AUTHORITY.leaf("a.test")), (other := AUTHORITY.leaf("a.test"), other)):
        file.write_bytes(trusted.chain_pem)
        trust = Trust(file, OWN, tmp_path)
        assert believes(trust, good)
        assert not believes(trust, own)
    file.write_bytes(AUTHORITY.pair.chain_pem)
    assert not believes(trust, AUTHORITY.leaf("b.test"))
    assert not believes(trust, AUTHORITY.leaf("a.test", days=1, now=LONG_AGO))


def test_without_a_store_that_can_be_read_the_systems_authorities_count(tmp_path: Path) -> None:
    trust = Trust(own=OWN, data_dir=tmp_path / "nowhere")
    assert not believes(trust, self_signed("a.test"))
