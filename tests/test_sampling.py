"""Samples of matrices have every pair of values, are small, and are the same each time."""

from itertools import combinations, product

import pytest
from sampling import Case, covering

MATRICES: dict[str, list[Case]] = {
    "one axis": [{"a": value} for value in "pqrst"],
    "two axes": [{"a": a, "b": b} for a, b in product("pqr", "xyz")],
    "four axes": [dict(zip("abcd", values, strict=True)) for values in product("pqr", repeat=4)],
    "with gaps": [{"a": a, "b": b, "c": c} for a, b, c in product("pqrs", "qrst", "pt") if a < b],
}


@pytest.mark.parametrize("cases", MATRICES.values(), ids=MATRICES)
def test_every_pair_of_values_that_occurs_is_in_the_sample(cases: list[Case]) -> None:
    chosen = [cases[number] for number in covering(cases)]
    for names in combinations(cases[0], min(2, len(cases[0]))):
        wanted = {tuple(case[name] for name in names) for case in cases}
        assert wanted == {tuple(case[name] for name in names) for case in chosen}
    assert covering(cases) == covering(list(map(dict, cases)))


@pytest.mark.parametrize(
    ("name", "most"), [("one axis", 5), ("two axes", 9), ("four axes", 15), ("with gaps", 14)]
)
def test_samples_are_small(name: str, most: int) -> None:
    assert len(covering(MATRICES[name])) <= most


def test_without_the_option_only_the_sample_of_a_matrix_runs(
    pytestconfig: pytest.Config, request: pytest.FixtureRequest
) -> None:
    shown = [item.name for item in request.session.items if "every_case" in item.name]
    assert len(shown) <= (27 if pytestconfig.getoption("--all") else 12)


@pytest.mark.matrix
@pytest.mark.parametrize("third", range(3))
@pytest.mark.parametrize("second", range(3))
@pytest.mark.parametrize("first", [[0], [1], [2]])
def test_every_case(first: list[int], second: int, third: int) -> None:
    assert 0 <= first[0] + second + third <= 6
