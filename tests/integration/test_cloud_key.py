"""Keys of AWS KMS over its own protocol: what they seal, for whom it opens, and what is said when they cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("boto3")
pytest.importorskip("moto.server")

from support.cloud import REGION, Cloud

from gateway.certs.keyring import CloudKey
from gateway.errors import KeyServiceError
from gateway.store import cloud_key

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    cloud = Cloud().come()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in cloud.environ.items():
            patch.setenv(name, value)
        yield cloud
    cloud.go()


@pytest.fixture(scope="module")
def key(cloud: Cloud) -> CloudKey:
    return CloudKey(arn=cloud.key(), region=REGION)


def test_what_it_seals_opens_for_the_same_store(key: CloudKey) -> None:
    sealed = cloud_key.seal(key, "store", b"k" * 32, 5)
    assert b"k" * 8 not in sealed
    assert cloud_key.unseal(key, "store", sealed, 5) == b"k" * 32


def test_what_it_seals_does_not_open_for_another_store(key: CloudKey) -> None:
    sealed = cloud_key.seal(key, "store", b"k" * 32, 5)
    with pytest.raises(KeyServiceError, match="InvalidCiphertext"):
        cloud_key.unseal(key, "another store", sealed, 5)


def test_a_key_that_is_not_there_is_named_with_its_region(key: CloudKey) -> None:
    gone = CloudKey(arn=key.arn[:-12] + "000000000000", region=REGION)
    with pytest.raises(KeyServiceError, match=f"{REGION}.*{gone.arn}.*NotFound"):
        cloud_key.seal(gone, "store", b"k" * 32, 5)


def test_a_cloud_that_is_away_is_told_of_and_no_credential_is(key: CloudKey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:9")
    with pytest.raises(KeyServiceError, match=key.arn) as caught:
        cloud_key.seal(key, "store", b"k" * 32, 1)
    assert "a-secret-of-the-test" not in str(caught.value)


@pytest.mark.parametrize(
    ("arn", "region", "why"),
    [
        ("arn:aws:kms:eu-west-1:123456789012:key/1", "eu-west-1", ""),
        ("arn:aws-cn:kms:cn-north-1:123456789012:alias/a", "cn-north-1", ""),
        ("arn:aws:kms:eu-west-1:123456789012:key/1", "us-west-2", "in the region eu-west-1"),
        ("arn:aws:s3:eu-west-1:123456789012:key/1", "eu-west-1", "not the ARN"),
        ("", "eu-west-1", "not the ARN"),
        ("arn:aws:kms:eu-west-1:123456789012:key/1\n", "eu-west-1", "not the ARN"),
    ],
)
def test_what_can_be_no_key_is_refused_before_anybody_is_asked(arn: str, region: str, why: str) -> None:
    found = cloud_key.refusal(CloudKey(arn=arn, region=region))
    assert why in found
    assert bool(found) == bool(why)
