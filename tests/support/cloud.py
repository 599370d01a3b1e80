"""A server that speaks AWS KMS's protocol, and seals for real: moto's, on loopback."""

from __future__ import annotations

from typing import Any

import pytest
from support.roles import free_ports

REGION = "eu-west-1"


class Cloud:
    """Its keys outlive its being away."""

    def __init__(self) -> None:
        self.port = free_ports(1)[0]
        self.environ = {
            "AWS_ENDPOINT_URL_KMS": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "a-secret-of-the-test",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }
        self._server: Any = None

    def come(self) -> Cloud:
        server = pytest.importorskip("moto.server", reason="moto is not installed")
        self._server = server.ThreadedMotoServer("127.0.0.1", self.port, verbose=False)
        self._server.start()
        return self

    def go(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None

    def key(self) -> str:
        """Make a key; return its ARN."""
        boto3 = pytest.importorskip("boto3", reason="boto3 is not installed")
        client = boto3.client(
            "kms", region_name=REGION, endpoint_url=self.environ["AWS_ENDPOINT_URL_KMS"],
            aws_access_key_id="testing", aws_secret_access_key="testing",
        )  # fmt: skip
        return str(client.create_key()["KeyMetadata"]["Arn"])
