"""Clients that others wrote get what they should, over both versions of HTTP: answers that come early above all."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.interop import EARLY, PAGE, USUAL, Case, Place, go_client, judged

if TYPE_CHECKING:
    from collections.abc import Iterator

BOTH = ("http1", "http2")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with Place(tmp_path_factory.mktemp("place")) as running:
        yield running


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not here")


MATRIX = [
    pytest.param(client, version, id=f"{client} {version}", marks=needs(program))
    for client, program, versions in (
        ("curl", "curl", BOTH),
        ("httpx", "sh", BOTH),
        ("node", "node", BOTH),
        ("go", "go", BOTH),
        ("nghttp", "nghttp", BOTH[1:]),
    )
    for version in versions
]


def ask(place: Place, client: str, version: str, cases: list[Case]) -> list[str]:
    if client == "go" and go_client() is None:
        pytest.skip("this host has not compiled the library of Go in time")
    if client == "nghttp":  # it sees frames, not lengths
        cases = [case for case in cases if case.method != "HEAD"]
        return [fault for fault in judged(cases, place.nghttp(version, cases)) if "-1 bytes" not in fault]
    return judged(cases, getattr(place, client)(version, cases))


@pytest.mark.parametrize(("client", "version"), MATRIX)
def test_an_answer_before_the_end_of_an_upload_is_seen(place: Place, client: str, version: str) -> None:
    assert ask(place, client, version, EARLY) == []


@pytest.mark.parametrize(("client", "version"), MATRIX)
def test_what_is_usual_is_served(place: Place, client: str, version: str) -> None:
    assert ask(place, client, version, USUAL) == []


@needs("curl")
@pytest.mark.parametrize("version", BOTH)
def test_an_early_answer_ends_the_wait_for_100_continue(place: Place, version: str) -> None:
    assert judged(EARLY, place.curl(version, EARLY, expects=True)) == []


@needs("curl")
def test_who_speaks_http_to_the_port_for_https_is_told_so(place: Place) -> None:
    arguments = ["-s", "-m", "20", "-H", "Expect:", "-T", str(place.blob), "-w", " %{http_code} %{exitcode}"]
    done = subprocess.run(
        ["curl", *arguments, f"http://127.0.0.1:{place.port}/"], capture_output=True, text=True, check=False
    )
    assert done.stdout == '{"error": "this port speaks HTTPS: ask again with https://"}\n 400 0'


@needs("chromium")
@pytest.mark.parametrize("version", BOTH)
def test_a_browser_sees_it_all(place: Place, version: str) -> None:
    assert judged(PAGE, place.chromium(version, PAGE)) == []


@needs("curl")
@pytest.mark.parametrize("version", BOTH)
@pytest.mark.parametrize(("size", "status"), [(15_000, "200"), (20_000, "431")])
def test_a_large_head_is_served_or_told_of(place: Place, version: str, size: int, status: str) -> None:
    arguments = ["-s", "--http2" if version == "http2" else "--http1.1", "-m", "20", "--cacert", str(place.ca)]
    arguments += ["-H", "X-Large: " + "x" * size, "-H", "Expect:", "-T", str(place.blob), "-o", "/dev/null"]
    arguments += ["-w", "%{http_code} %{exitcode}", f"{place.origin}/up/echo"]
    done = subprocess.run(["curl", *arguments], capture_output=True, text=True, check=False)
    assert done.stdout == f"{status} 0"
