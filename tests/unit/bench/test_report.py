from __future__ import annotations

import pytest

from bench.report import HEADING, MEASURES, cell, number, ratio, table, verdict, with_entry

REQUEST = next(measure for measure in MEASURES if measure.key == "request")


@pytest.mark.parametrize(
    ("value", "written"),
    [(31857.4, "31,857"), (99.96, "100"), (38.249, "38.2"), (0.7641, "0.764"), (0.0, "0")],
)
def test_numbers_keep_three_digits(value: float, written: str) -> None:
    assert number(value) == written


def test_a_cell_is_the_median_with_half_the_range() -> None:
    assert cell([40.0, 30.0, 41.0], []) == "40 ±14%"
    assert cell([40.0], []) == "40"
    assert cell([], []) == "-"


def test_a_rate_is_a_lower_bound_when_the_front_was_not_busy() -> None:
    assert cell([800.0], [0.5]) == "≥ 800"
    assert cell([800.0], [0.97]) == "800"


def test_a_ratio_needs_both_sides() -> None:
    samples = {"ours": {"request": [45.0, 44.0, 90.0]}, "nginx": {"request": [30.0]}}
    assert ratio(samples, "request", "nginx") == 1.5
    assert ratio(samples, "request", "caddy") is None
    assert ratio(samples, "p50", "nginx") is None


@pytest.mark.parametrize(
    ("ours", "caddy", "outcome"),
    [(45.0, 130.0, "met"), (46.0, 130.0, "**missed**"), (45.0, 80.0, "**missed**")],
)
def test_a_budget_is_met_when_it_holds_against_every_peer(ours: float, caddy: float, outcome: str) -> None:
    samples = {"ours": {"request": [ours]}, "nginx": {"request": [30.0]}, "caddy": {"request": [caddy]}}
    assert verdict(samples, REQUEST) == f"≤ 1.5 nginx, ≤ 0.5 caddy: {outcome}"


def test_a_budget_without_the_peers_is_not_judged() -> None:
    assert verdict({"ours": {"request": [45.0]}}, REQUEST).endswith("not measured")


def test_the_table_has_a_row_per_measure_and_its_columns_line_up() -> None:
    samples = {"ours": {"request": [45.0], "rate": [20000.0]}, "nginx": {"request": [30.0]}}
    lines = table(samples).splitlines()
    assert len(lines) == 2 + len(MEASURES)
    assert len(set(map(len, lines))) == 1
    row = next(line for line in lines if REQUEST.title in line)
    assert [each.strip() for each in row.split("|")[2:6]] == ["45", "30", "1.50", "-"]


def test_results_keep_their_history_below_the_newest() -> None:
    first = with_entry("", "## one\n\ntable\n")
    second = with_entry(first, "## two\n\ntable")
    assert first == HEADING + "## one\n\ntable\n"
    assert second == HEADING + "## two\n\ntable\n\n## one\n\ntable\n"
