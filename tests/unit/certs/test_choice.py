"""Which certificate serves: valid before not valid, then the place, then the one that lasts longest; until when."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.certs.choice import NEVER, Choice, Contender, Validity, best, choose, takes_over

NOW = 100.0


def one(what: str, begins: float, ends: float, *, rank: int = 0, key: str = "ec") -> Contender[str]:
    return Contender(what, key, rank, Validity(begins, ends))


def test_one_that_is_valid_goes_before_one_that_is_not_wherever_it_stands():
    good = one("good", 0, 200)
    for bad in (one("over", 0, 90, rank=9), one("early", 150, 900, rank=9)):
        for order in ([good, bad], [bad, good]):
            assert choose(order, NOW)[:2] == (("good",), True)


def test_of_valid_ones_the_place_decides_then_the_end_then_the_order():
    assert choose([one("high", 0, 150, rank=2), one("low", 0, 900, rank=1)], NOW).chosen == ("high",)
    assert choose([one("long", 0, 900), one("short", 0, 150)], NOW).chosen == ("long",)
    assert choose([one("first", 0, 150), one("last", 0, 150)], NOW).chosen == ("last",)


def test_key_types_stand_side_by_side_within_a_place_and_only_there():
    rsa = one("rsa", 0, 150, key="rsa")
    assert choose([rsa, one("ec", 0, 200)], NOW).chosen == ("ec", "rsa")
    assert choose([rsa, one("ec", 0, 200, rank=1)], NOW).chosen == ("ec",)
    # One that has expired is nobody's second key type: most clients would be shown it.
    assert choose([rsa, one("ec", 0, 90)], NOW).chosen == ("rsa",)


def test_where_none_is_valid_the_best_of_them_serves():
    assert choose([one("over", 0, 90), one("early", 150, 200)], NOW)[:2] == (("early",), False)
    assert choose([], NOW) == Choice((), current=False, until=NEVER)


def test_a_choice_says_until_when_it_holds():
    assert choose([one("a", 0, 120), one("b", 110, 900)], NOW).until == 110
    assert choose([one("a", 0, 120)], NOW).until == 120
    assert choose([one("a", 0, 90)], NOW).until == NEVER
    assert choose([one("backwards", 120, 110)], NOW).until == NEVER
    assert not choose([one("a", 0, 100)], NOW).current  # its last second is no longer part of it
    assert choose([one("a", 100, 101)], NOW).current


def test_the_nearest_name_serves_unless_only_another_has_a_valid_one():
    valid, over = Choice(("v",), current=True, until=120.0), Choice(("o",), current=False, until=NEVER)
    nothing = Choice[str]((), current=False, until=110.0)
    assert best([valid, over]).chosen == ("v",)
    assert best([over, valid]) == Choice(("v",), current=True, until=120.0)
    assert best([nothing, over]) == Choice(("o",), current=False, until=110.0)
    assert best([]) == Choice((), current=False, until=NEVER)


ROWS = st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(0, 2), st.sampled_from(["ec", "rsa"]))
CONTENDERS = st.lists(ROWS, min_size=1, max_size=5).map(
    lambda rows: [one(str(at), begin, end, rank=rank, key=key) for at, (begin, end, rank, key) in enumerate(rows)]
)


@given(CONTENDERS)
def test_nothing_changes_but_when_it_was_said(contenders):
    moment, said = -1.0, [-1.0]
    while (moment := choose(contenders, moment).until) != NEVER:
        said.append(moment)
    for begin, end in pairwise([*said, 20.0]):
        chosen = {choose(contenders, at / 4).chosen for at in range(int(begin * 4), int(end * 4))}
        assert len(chosen) == 1
    before = choose(contenders, -1.0).chosen
    for contender in contenders:
        if contender.what not in before:
            later = [at for at in range(20) if contender.what in choose(contenders, at).chosen]
            assert takes_over(contenders, contender.what, -1.0) == min(later, default=NEVER)


@given(CONTENDERS, st.integers(-1, 13))
def test_whoever_is_valid_serves_before_anybody_who_is_not(contenders, now):
    valid = {one.what for one in contenders if one.validity.holds(now)}
    choice = choose(contenders, now)
    assert choice.current == bool(valid)
    assert choice.chosen
    assert not valid or valid.issuperset(choice.chosen)
