"""Which cases of a large matrix are run each time: together they have every pair of values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations

import pytest

Case = dict[str, str]
"""The value of each parameter, in words."""


def case_of(item: pytest.Item) -> Case:
    """The values of an item's parameters, or which objects they are."""
    simple = (str, int, float, tuple, type(None))
    return {
        name: repr(value) if isinstance(value, simple) else f"object {id(value)}"
        for name, value in vars(item)["callspec"].params.items()
    }


def pairs_of(case: Case) -> set[tuple[tuple[str, str], ...]]:
    """Every two values of a case; if there is only one axis, each alone."""
    return set(combinations(sorted(case.items()), min(2, len(case))))


def covering(cases: Sequence[Case]) -> list[int]:
    """Positions of cases that have together all pairs of values that occur at all.

    Again and again the first of the cases that add most: the sample of the same cases is the same.
    """
    left = {number: pairs_of(case) for number, case in enumerate(cases)}
    missing = set().union(*left.values())
    chosen = []
    while missing:
        best = max(left, key=lambda number: len(left[number] & missing))
        missing -= left.pop(best)
        chosen.append(best)
    return sorted(chosen)


def sampled(items: Sequence[pytest.Item]) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """Items to run, in their order, and those that only ``--all`` runs.

    The cases of each test that is marked `matrix` are sampled; of all other items those that are
    marked `rest` are left out.
    """
    matrices: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if item.get_closest_marker("matrix"):
            matrices[item.nodeid.partition("[")[0]].append(item)
    left_out = {item for item in items if item.get_closest_marker("rest")}
    for cases in matrices.values():
        chosen = covering([case_of(item) for item in cases])
        left_out.update(cases)
        left_out.difference_update(cases[number] for number in chosen)
    return [i for i in items if i not in left_out], [i for i in items if i in left_out]
