from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

from bench.scale import certify, fill, name_of, table
from gateway.certs.pem import parse_pair
from gateway.store.sqlite import Store

if TYPE_CHECKING:
    from pathlib import Path


def test_its_certificates_pass_the_checks_of_an_upload_without_a_warning() -> None:
    made = certify(name_of(7))
    pair, warnings = parse_pair(made.chain_pem, made.key_pem)
    assert pair.names == (name_of(7),)
    assert not warnings


def test_a_filled_store_serves_every_domain(tmp_path: Path) -> None:
    config = tmp_path / "gateway.json"
    config.write_text(json.dumps({"http_server_options": {"use_ssl": True}, "gateway": {"data_dir": "data"}}))
    fill(tmp_path / "data", config, 3)
    with closing(Store.open(tmp_path / "data", writable=False)) as store:
        assert [bool(store.find(name_of(index))) for index in range(4)] == [True, True, True, False]


def test_the_table_has_a_column_for_each_gateway() -> None:
    assert table({10: {"a": "1", "b": "2"}, 100_000: {"a": "3", "b": "4"}}).splitlines() == [
        "| measure | 10 domains | 100,000 domains |",
        "| --- | --- | --- |",
        "| a | 1 | 3 |",
        "| b | 2 | 4 |",
    ]
