"""The stand-in for a GPU as tests of kernels get it."""

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from dask_workers import four_workers, two_workers
from hypothesis import settings
from kernel_device import SCHEDULES, VARIANTS, build_ahead, device, options_for, text_of
from sampling import sampled

collect_ignore_glob = ["helpers/[!g]*.py", "helpers/gpu*.py", "helpers/gpu_double/[!t]*.py"]
"""Modules that tests import, without tests of their own."""

__all__ = ["four_workers", "two_workers"]

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let ``scripts/test --all`` run every case of tests that are marked `matrix`."""
    parser.addoption("--all", action="store_true", help="run whole matrices, not samples of them")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the cases that run have in pairs already."""
    if not config.getoption("--all"):
        items[:], left_out = sampled(items)
        config.hook.pytest_deselected(items=left_out)


def pytest_collection_finish() -> None:
    """Let no collection of garbage look through modules and tests, which all stay to the end.

    The stand-in collects at the end of every test with it, distributed's workers now and then.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def _each_built_alone() -> None:
    """What tests of kernels need of g++, two at a time: it would be one at a time otherwise."""
    build_ahead([(text_of(kernel[0]), options_for(kernel), "fiber") for kernel in VARIANTS])


@pytest.fixture(scope="module", params=SCHEDULES)
def scheduled(request: pytest.FixtureRequest, _each_built_alone: None) -> Iterator[Any]:
    """The stand-in in one of the schedules, for all tests: it takes a while to remove."""
    with device(order=request.param, multiprocessors=SCHEDULES[request.param]) as double:
        yield double


@pytest.fixture
def gpu(scheduled: Any) -> Iterator[Any]:
    """The stand-in with an empty log; mistakes are raised after every test."""
    scheduled.log.reset()
    yield scheduled
    scheduled.machine.check_canaries()
    scheduled.machine.complain()
