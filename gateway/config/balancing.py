"""What an API definition says of its targets: how requests are spread, and when a target is left alone."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from gateway.config.kinds import Count, Seconds, Section, SomeSeconds, refuse

# RFC 9110 section 5.6.2: what names a field or a cookie.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_LARGEST_WEIGHT = 1000
_MOST_RETRIES = 10


def _hash_key(text: str) -> str:
    kind, colon, name = text.partition(":")
    if text != "address" and not (colon and kind in {"header", "cookie"} and _TOKEN.fullmatch(name)):
        refuse("is not something that requests are told apart by", "write address, header:Name or cookie:name")
    return text


def _cookie_name(text: str) -> str:
    if text and not _TOKEN.fullmatch(text):
        refuse("is not the name of a cookie", "write letters, digits, - and _ only")
    return text


Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[int, Field(ge=1, le=_LARGEST_WEIGHT)]
HashKey = Annotated[str, AfterValidator(_hash_key)]
CookieName = Annotated[str, AfterValidator(_cookie_name)]


class Balancing(Section):
    """How requests are spread over the targets. One word (`balancing: least_requests`) sets the policy."""

    shorthand: ClassVar[str] = "policy"

    policy: Literal["round_robin", "least_requests", "hash", "sticky"] = Field(
        "round_robin",
        description="`round_robin`; `least_requests`: the target that is answering the fewest; `hash`: the same target"
        " for the same `hash_on`; `sticky`: the same target for the same browser, by a signed cookie",
    )
    weights: tuple[Weight, ...] = Field(
        (), description="one for each of `target_list`, 1 to 1000: its share of the requests; empty: all the same"
    )
    hash_on: HashKey = Field("address", description="`address` of the client, `header:Name` or `cookie:name`")
    cookie: CookieName = Field("", description="name of the cookie of `sticky`; empty: one made of the `api_id`")
    retries: Annotated[int, Field(ge=0, le=_MOST_RETRIES)] = Field(
        2, description="further attempts for a request that is safe to repeat, at other targets first"
    )
    retry_share: Share = Field(0.2, description="retries in relation to requests, at most")
    retry_floor: Count = Field(3, description="retries in a second that `retry_share` does not forbid, per worker")


class Queue(Section):
    """What each worker may ask of one upstream address."""

    max_connections: Count = Field(0, description="connections to one target, per worker; 0: unlimited")
    length: Count = Field(
        100, description="requests that wait for one of `max_connections`; one more is answered with 503"
    )
    timeout: SomeSeconds = Field(5, description="longest wait; then the request is answered with 503")


class HealthRules(Section):
    """When a target is left out because requests to it fail, as each worker sees it."""

    failures: Count = Field(5, description="failures in a row, within `window`, that put a target out; 0: never")
    window: SomeSeconds = Field(10, description="time within which `failures` count")
    ejection_time: SomeSeconds = Field(10, description="time out at first; doubled each time, see `max_ejection_time`")
    max_ejection_time: SomeSeconds = Field(300, description="longest time out")
    max_ejected: Share = Field(0.5, description="share of the targets that may be out at once")
    slow_start: Seconds = Field(0, description="time over which a target that is back gets its full share again")


class UpstreamTimeouts(Section):
    """Patience with the targets of one API; 0: as `gateway.limits` of the main file says."""

    connect: Seconds = Field(0, description="time for connecting, TLS included")
    response: Seconds = Field(0, description="time until the head of the response")
    idle: Seconds = Field(0, description="longest pause in a response; life of an idle connection")
