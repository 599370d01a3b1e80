"""``gateway kms`` and ``gateway secrets`` before a stand-in for the admin API: what is sent, shown and told."""

from __future__ import annotations

import json
from typing import Any

ARN = "arn:aws:kms:us-west-2:867530990073:key/1abc23de"
MASTER = {
    "id": "8ddd70dfbe674dbf",
    "created": "2026-05-29T23:46:54Z",
    "encrypt_and_decrypt_since": "2026-05-29T23:46:54Z",
}
KEYS: dict[str, Any] = {
    "mode": "aws", "key_arn": ARN, "region": "us-west-2", "store": "ab", "root_master_key": "cd",
    "root_master_key_created": "2026-05-30T01:02:03Z", "regenerating": None,
    "master_keys": [
        {**MASTER, "state": "decrypt-only", "decrypt_only_since": "2026-06-01T00:00:00Z"},
        {**MASTER, "id": "11" * 8, "state": "encrypt or decrypt", "decrypt_only_since": None},
    ],
}  # fmt: skip
DONE = {
    "resumed": True,
    "sealed": 7,
    "unreadable": 0,
    "secret_file": "/d/admin.secret",
    "certificates": [],
    "keys": KEYS,
}


def test_the_mode_aws_is_asked_for_with_the_words_of_tableau(api, run):
    api.answers["PUT /tyk/kms/mode"] = (200, KEYS)
    done = run("kms", "set-mode", "aws", "--key-arn", ARN, "--aws-region", "us-west-2")
    assert (done.exit_code, done.output) == (0, "KMS mode: aws; root master key cd\n")
    assert api.asked[-1].json == {"mode": "aws", "key_arn": ARN, "region": "us-west-2"}


def test_the_mode_aws_without_a_key_is_wrong_usage(api, run):
    assert run("kms", "set-mode", "aws", "--aws-region", "us-west-2").exit_code == 2
    assert not api.asked


def test_the_status_shows_every_key_with_state_and_times(api, run):
    api.answers["GET /tyk/kms"] = (200, KEYS)
    shown = run("kms", "status").output
    assert ARN in shown
    lines = (
        "State: decrypt-only",
        "Transition to decrypt-only: 2026-06-01T00:00:00Z",
        "State: encrypt or decrypt",
        "First transition to encrypt and decrypt: 2026-05-29T23:46:54Z",
        "Transition to decrypt-only: -",
    )
    assert {f"  {line}" for line in lines} <= set(shown.splitlines())
    assert json.loads(run("kms", "status", "--json").output) == KEYS


def test_regenerating_tells_where_the_secret_is_and_that_a_configured_one_stays(api, run):
    api.answers["POST /tyk/secrets/regenerate"] = (200, DONE)
    told = run("secrets", "regenerate").output
    assert "new admin secret in /d/admin.secret" in told
    assert "gone on with what was interrupted" in told
    api.answers["POST /tyk/secrets/regenerate"] = (200, {**DONE, "secret_file": ""})
    assert "the operator's to change" in run("secrets", "regenerate").output


def test_a_refusal_is_told_as_it_is_and_a_gateway_that_is_gone_with_what_to_do(api, run, monkeypatch):
    api.answers["POST /tyk/secrets/regenerate"] = (502, {"status": "error", "message": "no cloud"})
    refused = run("secrets", "regenerate")
    assert (refused.exit_code, "again" in refused.output, "no cloud" in refused.output) == (1, False, True)
    monkeypatch.setenv("GATEWAY_ADMIN_URL", "http://127.0.0.1:9")
    gone = run("secrets", "regenerate")
    assert gone.exit_code == 1
    assert "run `gateway secrets regenerate` again" in gone.output
