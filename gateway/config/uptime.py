"""Tyk's uptime tests: the addresses that tell whether a host is up, and how often they are asked."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from gateway.config.kinds import Count, Section, refuse
from gateway.config.tyk_names import DEFINITION, MAIN_FILE, names

_NANOSECONDS_FROM = 1_000_000  # Tyk's timeout is Go's time.Duration; nobody waits a million seconds
_LONGEST_TIMEOUT = 60


def _check_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        sound = bool(parts.hostname) and parts.port != 0 and parts.username is None
    except ValueError:
        sound = False
    else:
        sound = sound and parts.scheme in {"http", "https", "tcp"} and (parts.scheme != "tcp" or bool(parts.port))
    if not sound or re.search(r"[\s\x00-\x1f\x7f]", text):
        refuse("cannot be checked", "write http://host:port/path, https://host:port/path or tcp://host:port")
    return text


def _check_timeout(value: float) -> float:
    seconds = value / 1e9 if value >= _NANOSECONDS_FROM else value
    if seconds > _LONGEST_TIMEOUT:
        refuse("is more than a minute", "write seconds, at most 60")
    return seconds


CheckUrl = Annotated[str, AfterValidator(_check_url)]
CheckTimeout = Annotated[float, Field(ge=0), AfterValidator(_check_timeout)]


class UptimeCheck(Section):
    """One address that is asked now and then whether it is up. One word is the `url`."""

    shorthand: ClassVar[str] = "url"
    tyk_only: ClassVar[frozenset[str]] = names(DEFINITION, "uptime_tests.check_list.*")

    url: CheckUrl = Field(
        description="http or https URL that answers 2xx, or `tcp://host:port` that can be connected to; its host and"
        " port say whose health it is"
    )
    protocol: Literal["", "http", "https", "tcp"] = Field("", description="`tcp`: only connect, whatever the `url`")
    method: Annotated[str, Field(pattern=r"^[A-Za-z]{0,20}$")] = Field("", description="empty: GET")
    headers: dict[str, str] = Field({}, repr=False, description="fields of the request")
    body: str = Field("", repr=False, description="body of the request")
    timeout: CheckTimeout = Field(
        0, description="patience in seconds, or, from 1,000,000 on, Tyk's nanoseconds; 0: 5 s"
    )


class UptimeTests(Section):
    """The checks of one API. They count where `proxy.check_host_against_uptime_tests` is true."""

    tyk_only: ClassVar[frozenset[str]] = names(DEFINITION, "uptime_tests")

    disabled: bool = Field(default=False, description="true: nothing is checked")
    check_list: Annotated[tuple[UptimeCheck, ...], Field(max_length=100)] = Field((), description="what is checked")


class UptimeTestsConfig(Section):
    """The pace of the checks."""

    tyk_only: ClassVar[frozenset[str]] = names(MAIN_FILE, "uptime_tests.config")

    failure_trigger_sample_size: Count = Field(
        0, description="equal results in a row that turn a host down, or up again; 0: 3"
    )
    time_wait: Count = Field(0, description="seconds between two checks of a host; 0: 10")
    checker_pool_size: Count = Field(0, description="checks that run at once; 0: 50")


class UptimeSettings(Section):
    """Checks of the hosts of all APIs, made once on this node."""

    tyk_only: ClassVar[frozenset[str]] = names(MAIN_FILE, "uptime_tests")

    disable: bool = Field(default=False, description="true: nothing is checked, every host counts as up")
    config: UptimeTestsConfig = Field(UptimeTestsConfig(), description="the pace of the checks")
