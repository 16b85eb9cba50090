"""Samples of matrices have every value or pair of values, are small, and are the same each time."""

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
@pytest.mark.parametrize("size", [1, 2])
def test_every_value_or_pair_that_occurs_is_in_the_sample(cases: list[Case], size: int) -> None:
    chosen = [cases[number] for number in covering(cases, size)]
    for names in combinations(cases[0], min(size, len(cases[0]))):
        wanted = {tuple(case[name] for name in names) for case in cases}
        assert wanted == {tuple(case[name] for name in names) for case in chosen}
    assert covering(cases, size) == covering(list(map(dict, cases)), size)


@pytest.mark.parametrize(
    ("name", "values", "pairs"),
    [("one axis", 5, 5), ("two axes", 3, 9), ("four axes", 3, 15), ("with gaps", 5, 14)],
)
def test_samples_are_small(name: str, values: int, pairs: int) -> None:
    assert len(covering(MATRICES[name], 1)) <= values
    assert len(covering(MATRICES[name])) <= pairs


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
