"""The document at /openapi.json is true: schemathesis asks everything that it allows, and much that it does not."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any
from zlib import crc32

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from support.admin import SECRET, Admin
from support.fake_accounts import FakeAccounts
from support.fake_operations import MOMENT, FakeOperations
from support.front import LOCALHOST

from gateway.admin.operations import CrlState, Kind, ServedPair, StoredCertificate
from gateway.config.oas import EXTENSION

if TYPE_CHECKING:
    from collections.abc import Callable

# What is right in form can still miss what there is.
RIGHT_IN_FORM = ["2xx", 404, 409, 412]

seen: Counter[tuple[str, str, int]] = Counter()


class Plenty(dict[str, Any]):
    """Three of four names that are asked for exist."""

    def __init__(self, make: Callable[[str], Any]) -> None:
        super().__init__()
        self._make = make

    def __contains__(self, name: object) -> bool:
        return crc32(str(name).encode()) % 4 > 0 or super().__contains__(name)

    def __missing__(self, name: str) -> Any:
        return self._make(name)

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else default  # noqa: SIM401 - this is what it would call

    def pop(self, name: str, default: Any = None) -> Any:
        return self.get(name, default)

    def __delitem__(self, name: str) -> None:
        self.pop(name)


def a_pair(name: str) -> ServedPair:
    return ServedPair("ab" * 32, "ec", (name,), MOMENT, MOMENT, "admin", "cd" * 32)


def a_certificate(name: str) -> StoredCertificate:
    from cryptography.hazmat.primitives.serialization import Encoding

    return StoredCertificate(name, "", Kind.PAIR, LOCALHOST.leaf.public_bytes(Encoding.DER))


operations = FakeOperations(
    any_pem=True,
    served=Plenty(a_pair),
    stored=Plenty(a_certificate),
    lists=Plenty(lambda name: CrlState(name, "admin", "CN=CA", MOMENT, MOMENT, 1)),
    definitions=Plenty(lambda name: {"api_id": name}),
    written=Plenty(lambda name: {EXTENSION: {"info": {"id": name}}}),
)
schema = schemathesis.openapi.from_asgi(
    "/openapi.json",
    Admin(operations, FakeAccounts(any_password=True), loopback=False, step=60).app,
    config=schemathesis.Config.from_dict(
        {
            "auth": {"openapi": {"secret": {"api_key": SECRET}}},
            "checks": {"positive_data_acceptance": {"expected-statuses": RIGHT_IN_FORM}},
        }
    ),
)


def every_answer_is_as_described(case: schemathesis.Case) -> None:
    if (
        case.operation.path == "/tyk/apis/{id}"
        and isinstance(case.body, dict)
        and case.meta.generation.mode.is_positive
    ):
        case.body = {**case.body, "api_id": case.path_parameters["id"]}  # no schema can say that they are the same
    response = case.call_and_validate()
    seen[case.method, case.operation.path, response.status_code] += 1


def test_of(method: str, path: str) -> Callable[[schemathesis.Case], None]:
    """Make the test of one operation, which schemathesis fills with cases."""

    def test(case: schemathesis.Case) -> None:
        every_answer_is_as_described(case)

    few = settings(
        max_examples=10, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    quiet = pytest.mark.filterwarnings("ignore")  # of schemathesis, about itself
    return quiet(schema.include(method=method, path=path).parametrize()(few(test)))


# A test each, for of several with one name only one is run where tests are shared out among processes.
test_of.__test__ = False  # type: ignore[attr-defined]
for path, item in schema.raw_schema["paths"].items():
    for method in item:
        globals()[f"test_{method}_{re.sub('[^a-z]+', '_', path.lower()).strip('_')}_answers_as_described"] = test_of(
            method.upper(), path
        )


def test_the_calls_succeeded_as_well() -> None:
    """Else the test above would prove little."""
    described = {(m.upper(), path) for path, item in schema.raw_schema["paths"].items() for m in item}
    assert {(method, path) for method, path, status in seen if status == 200} == described
