from __future__ import annotations

from gateway.cli.check import listing
from gateway.config.problems import Problem, Severity

ERROR = Problem(Severity.ERROR, "listen_port", "tyk.conf:3", "70000 is not a port", "use 1 to 65535")
WARNING = Problem(Severity.WARNING, "secret", "TYK_GW_SECRET", "is short")
NOTE = Problem(Severity.NOTE, "storage", "tyk.conf:9", "means nothing here")


def plain(*problems: Problem) -> str:
    text = listing(problems)
    for code in ("\x1b[0m", "\x1b[1m", "\x1b[31m", "\x1b[33m", "\x1b[34m"):
        text = text.replace(code, "")
    return text


def test_the_gravest_come_first_and_notes_last() -> None:
    text = plain(NOTE, WARNING, ERROR)
    assert text.index("70000") < text.index("is short") < text.index("means nothing")


def test_a_problem_is_told_with_its_place_its_source_and_its_cure() -> None:
    assert plain(ERROR) == "1 error\n  listen_port  tyk.conf:3\n    70000 is not a port\n    use 1 to 65535"


def test_problems_are_counted_by_kind() -> None:
    assert "2 warnings" in plain(WARNING, NOTE, WARNING)


def test_a_configuration_without_problems_is_told_so() -> None:
    assert listing([]) == "no problems"
