"""The stand-in for CuPy: NumPy's values, CuPy's refusals, and an account of everything."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from gpu_double import Double, MisuseError, installed


@pytest.fixture
def cupy() -> Iterator[Double]:
    """The stand-in on its usual machine."""
    with installed() as double:
        yield double


Expression = Callable[[Any, Any, Any, Any], Any]

EXPRESSIONS: dict[str, Expression] = {
    "arithmetic": lambda xp, a, b, m: (-a + 2 * a - a // 3) * (a % 5) + (a << 1) - (a >> 2),
    "bits": lambda xp, a, b, m: (a & 6) | (a ^ 3) & ~a,
    "division": lambda xp, a, b, m: a / 7,
    "weak scalars": lambda xp, a, b, m: b * 2.5 + 1,
    "strong scalars": lambda xp, a, b, m: b + np.float64(2.5),
    "comparison": lambda xp, a, b, m: (a < 4) & (b >= 1) | (a != 3) ^ (a == 7),
    "swapped": lambda xp, a, b, m: 5 - a + 100 // (a + 90),
    "powers": lambda xp, a, b, m: abs(b) ** 0.5 + xp.sqrt(abs(b)) + xp.floor(b),
    "product": lambda xp, a, b, m: m @ m.T,
    "dot": lambda xp, a, b, m: m.dot(m[:4]),
    "sums": lambda xp, a, b, m: m.sum(axis=0) + m.sum(axis=1, keepdims=True),
    "a sum of all": lambda xp, a, b, m: a.sum(),
    "sum of bytes": lambda xp, a, b, m: a.astype(xp.uint8).sum(axis=0),
    "extremes": lambda xp, a, b, m: xp.stack([m.min(axis=0), m.max(axis=0), xp.amax(m, axis=0)]),
    "where the extremes are": lambda xp, a, b, m: m.argmin(axis=1) * 10 + xp.argmax(m, axis=1),
    "any and all": lambda xp, a, b, m: xp.stack([(m > 0).any(axis=0), (m > -9).all(axis=0)]),
    "running sum": lambda xp, a, b, m: xp.cumsum(a) + a.cumsum(),
    "running sum of floats": lambda xp, a, b, m: xp.cumsum(b),
    "mean and product": lambda xp, a, b, m: m.mean(axis=1) + m.prod(axis=1),
    "where": lambda xp, a, b, m: xp.where(a > 3, a, b),
    "where with scalars": lambda xp, a, b, m: xp.where(a > 3, 1, 0),
    "take": lambda xp, a, b, m: m.take(xp.asarray([2, 0, 1]), axis=1) + xp.take(a, 3),
    "take along": lambda xp, a, b, m: xp.take_along_axis(m, m.argsort(axis=1), 1),
    "index by array": lambda xp, a, b, m: m[xp.arange(5), xp.arange(5) % 4],
    "index by mask": lambda xp, a, b, m: a[a > 4],
    "slices": lambda xp, a, b, m: m[::-1, 1:3][2:, None, :],
    "an element": lambda xp, a, b, m: m[2, 1],
    "clip": lambda xp, a, b, m: xp.clip(a, 2, 6) + a.clip(None, 4),
    "clip by arrays": lambda xp, a, b, m: xp.clip(m, m.min(axis=0), m.mean(axis=0)),
    "sort": lambda xp, a, b, m: xp.sort(a) + xp.sort(a)[xp.argsort(a, kind="stable")],
    "lexsort": lambda xp, a, b, m: xp.lexsort(xp.stack([a, a % 3])),
    "search": lambda xp, a, b, m: xp.searchsorted(xp.sort(a), a, side="right"),
    "bins": lambda xp, a, b, m: xp.bincount(a + 9, minlength=40),
    "weighted bins": lambda xp, a, b, m: xp.bincount(a + 9, weights=b.astype(float)),
    "unique": lambda xp, a, b, m: xp.unique(a),
    "differences": lambda xp, a, b, m: xp.diff(xp.append(a, 4)),
    "repeat": lambda xp, a, b, m: xp.repeat(a, 3) + a.repeat([3] * 97),
    "joined": lambda xp, a, b, m: xp.concatenate([m, m[:2]]) + xp.vstack([m, m[:2]]),
    "side by side": lambda xp, a, b, m: xp.hstack([m, m]) + xp.tile(m, 2),
    "turned": lambda xp, a, b, m: xp.moveaxis(m[None], 0, 2).reshape(4, -1) + m.T.copy(),
    "rolled": lambda xp, a, b, m: xp.roll(a, 3) + xp.flip(a),
    "deleted": lambda xp, a, b, m: xp.delete(a, slice(2, 5)),
    "nonzero": lambda xp, a, b, m: xp.flatnonzero(a > 2) + xp.nonzero(a > 2)[0],
    "in": lambda xp, a, b, m: xp.isin(a, xp.asarray([1, 2, 3])),
    "counted": lambda xp, a, b, m: xp.count_nonzero(m > 1, axis=0),
    "made": lambda xp, a, b, m: xp.full(3, 7, xp.int16) + xp.ones_like(a[:3]) + xp.eye(3),
    "ranges": lambda xp, a, b, m: xp.arange(2, 11, 3) + xp.linspace(0, 1, 3),
    "reduceat": lambda xp, a, b, m: xp.add.reduceat(a, xp.arange(0, 97, 10)),
    "shaped": lambda xp, a, b, m: xp.broadcast_to(m[0], (3, 4)) + xp.expand_dims(m[0], 0),
    "viewed": lambda xp, a, b, m: a.view(xp.uint32)[:6].reshape(2, 3, order="F").ravel(),
}


def operands(xp: Any) -> tuple[Any, Any, Any]:
    """97 integers, as many floats, and a (5, 4) matrix; nothing symmetric, sums are exact."""
    generator = np.random.default_rng(3)
    integers = generator.integers(-9, 12, 97)
    floats = (generator.integers(-800, 900, 97) / 4).astype(np.float32)
    matrix = generator.integers(-5, 9, (5, 4)).astype(np.float32)
    return xp.asarray(integers), xp.asarray(floats), xp.asarray(matrix)


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_array_functions_give_numpys_values(expression: Expression, cupy: Double) -> None:
    expected = expression(np, *operands(np))
    result = expression(cupy, *operands(cupy))
    assert isinstance(result, cupy.ndarray)
    assert result.dtype == expected.dtype
    np.testing.assert_array_equal(result.get(), expected)


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_they_do_so_late_in_a_stream_too(expression: Expression, cupy: Double) -> None:
    expected = expression(np, *operands(np))
    with cupy.cuda.Stream(non_blocking=True):
        result = expression(cupy, *operands(cupy))
        assert result.dtype == expected.dtype
        np.testing.assert_array_equal(result.get(), expected)


def test_in_place_operations(cupy: Double) -> None:
    for xp in (np, cupy):
        a, b, _ = operands(xp)
        a <<= 1
        a |= 1
        a += a[::-1]
        a[xp.arange(3)] = 5
        a[3:6] = a[:3] * 2
        b[b > 7] = xp.float32(2)
        xp.add.at(a, xp.asarray([1, 1, 4]), 3)
        xp.not_equal(a[1:], a[:-1], out=b[1:])
        xp.cumsum(a, out=a[:])
        b.fill(3)
        if xp is np:
            expected = a
    np.testing.assert_array_equal(a.get(), expected)


def test_results_that_are_scalars_in_numpy_stay_on_the_device(cupy: Double) -> None:
    a, b, m = operands(cupy)
    cupy.log.reset()
    for scalar in (a.sum(), a[3], m.argmax(), (a > 0).all(), cupy.count_nonzero(b), m[1, 2]):
        assert isinstance(scalar, cupy.ndarray)
        assert scalar.shape == ()
    assert cupy.log.synchronizations == []


FETCHES: dict[str, Callable[[Any], Any]] = {
    "int": int,
    "float": float,
    "bool": bool,
    "item": lambda a: a.item(),
    "list": lambda a: a.tolist(),
    "text": str,
    "format": lambda a: f"{a}",
    "get": lambda a: a.get(),
}


@pytest.mark.parametrize("fetch", FETCHES.values(), ids=FETCHES)
def test_looking_at_a_value_synchronizes_and_is_counted(
    fetch: Callable[[Any], Any], cupy: Double
) -> None:
    value = cupy.asarray([5]).sum()
    cupy.log.reset()
    fetch(value)
    assert len(cupy.log.synchronizations) == 1
    assert cupy.log.downloaded == 8
    assert cupy.log.synchronizations[0].where.startswith("test_cupy_standin.py:")


def test_functions_whose_result_has_an_unknown_length_synchronize(cupy: Double) -> None:
    a, b, _ = operands(cupy)
    cases: list[tuple[Callable[[], Any], int]] = [
        (lambda: cupy.flatnonzero(a), 1),
        (lambda: cupy.unique(a), 1),
        (lambda: a[a > 3], 1),
        (lambda: cupy.bincount(a + 9), 2),
        (lambda: b.__setitem__(b > 3, 1), 1),
        (lambda: cupy.sort(a), 0),
        (lambda: a[cupy.arange(4)], 0),
        (lambda: cupy.where(a > 3, 1, 2), 0),
    ]
    for function, times in cases:
        cupy.log.reset()
        function()
        assert len(cupy.log.synchronizations) == times


REFUSALS: dict[str, tuple[Callable[[Any, Any], Any], type[Exception], str]] = {
    "conversion": (lambda xp, a: np.asarray(a), TypeError, "Implicit conversion"),
    "NumPy on the right": (lambda xp, a: a + np.ones(97), TypeError, "Unsupported type"),
    "NumPy on the left": (lambda xp, a: np.ones(97) + a, TypeError, "Unsupported type"),
    "NumPy compared": (lambda xp, a: a == np.ones(97), TypeError, "Unsupported type"),
    "NumPy in where": (lambda xp, a: xp.where(a > 0, a, np.ones(97)), TypeError, "Unsupported"),
    "NumPy in matmul": (lambda xp, a: xp.matmul(a, np.ones(97)), TypeError, "incorrect type"),
    "NumPy joined": (lambda xp, a: xp.concatenate([a, np.ones(3)]), TypeError, "Only cupy arrays"),
    "NumPy assigned": (lambda xp, a: a.__setitem__(0, np.ones(1)), TypeError, "device arrays and"),
    "NumPy as index": (lambda xp, a: a[np.arange(3)], TypeError, "upload implicitly"),
    "a list as index": (lambda xp, a: a[[1, 2]], TypeError, "upload implicitly"),
    "a list taken": (lambda xp, a: a.take([1, 2]), TypeError, "upload its indices"),
    "a list summed": (lambda xp, a: xp.sum([1, 2]), TypeError, "incorrect type"),
    "a list added": (lambda xp, a: xp.add(a, [1]), TypeError, "Unsupported type"),
    "a list appended": (lambda xp, a: xp.append(a, [1]), TypeError, "upload its argument"),
    "a device slice": (lambda xp, a: a[: a[0]], TypeError, "slice indices"),
    "a device shape": (lambda xp, a: xp.zeros(a[0]), TypeError, "0-d"),
    "a device range": (lambda xp, a: xp.arange(a[0]), TypeError, "would synchronize"),
    "range of a device number": (lambda xp, a: range(a[0]), TypeError, "integer"),
    "device repeats": (lambda xp, a: xp.repeat(a, a), ValueError, "repeats"),
    "a searched scalar": (lambda xp, a: xp.searchsorted(a, 3), NotImplementedError, "ndarrays"),
    "keys in a tuple": (lambda xp, a: xp.lexsort((a, a)), TypeError, "2-D array"),
    "quicksort": (lambda xp, a: xp.argsort(a, kind="quicksort"), ValueError, "stable"),
    "minima of runs": (lambda xp, a: xp.minimum.reduceat(a, a), NotImplementedError, "reduceat"),
    "ufunc.reduce": (lambda xp, a: xp.maximum.reduce(a), NotImplementedError, "reduce"),
    "ufunc's where": (lambda xp, a: xp.add(a, 1, where=True), TypeError, "Wrong arguments"),
    "unique rows": (lambda xp, a: xp.unique(a, axis=0), NotImplementedError, "rows"),
    "float bins": (lambda xp, a: xp.bincount(a / 2), TypeError, "int array"),
    "out on the host": (lambda xp, a: xp.add(a, 1, out=np.ones(97)), TypeError, "Output"),
    "out of another shape": (lambda xp, a: xp.add(a, 1, out=a[1:]), ValueError, "mismatched"),
    "out of another kind": (lambda xp, a: xp.sqrt(a, out=a), TypeError, "Cannot cast"),
    "casting": (lambda xp, a: a.astype(int, casting="safe"), TypeError, "casting"),
    "truth of many": (lambda xp, a: bool(a), ValueError, "ambiguous"),
    "an index that wraps": (lambda xp, a: a[xp.asarray([97])], IndexError, "out of bounds"),
    "strings": (lambda xp, a: xp.asarray(["a"]), ValueError, "Unsupported dtype"),
    "a wrong type set": (lambda xp, a: a.set(np.ones(97)), TypeError, "cannot be set"),
    "a list set": (lambda xp, a: a.set([1]), TypeError, "Only numpy.ndarray"),
    "a strided set": (lambda xp, a: a[::2].set(np.ones(49, int)), RuntimeError, "non-contiguous"),
    "numpy's function": (lambda xp, a: np.percentile(a, 5), TypeError, "no implementation"),
}


@pytest.mark.parametrize("refused", REFUSALS.values(), ids=REFUSALS)
def test_what_cupy_refuses_is_refused(
    refused: tuple[Callable[[Any, Any], Any], type[Exception], str], cupy: Double
) -> None:
    function, error, message = refused
    a = cupy.asarray(np.arange(97))
    cupy.log.reset()
    with pytest.raises(error, match=message):
        function(cupy, a)
    assert cupy.log.transfers == [] or "out of bounds" in message


UNDEFINED: dict[str, Callable[[Any, Any], Any]] = {
    "duplicates": lambda xp, a: a.__setitem__(xp.asarray([1, 1]), xp.asarray([2, 3])),
    "casts beyond the type": lambda xp, a: (a * 1e10).astype(xp.int32),
    "casts of NaN": lambda xp, a: (a / 0).astype(xp.int32),
}


@pytest.mark.parametrize("function", UNDEFINED.values(), ids=UNDEFINED)
def test_what_cuda_leaves_undefined_fails_even_if_the_error_is_caught(
    function: Callable[[Any, Any], Any],
) -> None:
    with pytest.raises(MisuseError), installed() as cupy, pytest.raises(MisuseError):
        function(cupy, cupy.arange(5))


def test_sums_of_floats_come_in_another_order_than_numpys(cupy: Double) -> None:
    values = np.random.default_rng(0).random(9999)
    there = cupy.asarray(values)
    bins = np.arange(9999) % 3
    assert float(there.sum()) != values.sum()
    assert (cupy.cumsum(there).get() != np.cumsum(values)).any()
    assert (cupy.bincount(cupy.asarray(bins), there).get() != np.bincount(bins, values)).any()
    assert float(there.sum()) == pytest.approx(values.sum())


def test_modules_appear_and_disappear() -> None:
    before = {name: module for name, module in sys.modules.items() if name.startswith("cupy")}
    with installed() as outer:
        import cupy
        import cupy.cuda.runtime

        assert cupy is outer.cupy
        with installed():
            assert sys.modules["cupy"] is not cupy
        assert sys.modules["cupy"] is cupy
        assert cupy.cuda.runtime.getDeviceCount() == 1
    after = {name: module for name, module in sys.modules.items() if name.startswith("cupy")}
    assert after == before


def test_other_libraries_arrays_are_taken_over_without_a_copy(cupy: Double) -> None:
    class Tensor:
        """An array of another library."""

        def __init__(self) -> None:
            self.data = cupy.arange(6)
            self.__cuda_array_interface__ = self.data.__cuda_array_interface__

        def __dlpack__(self, **options: Any) -> Any:
            return self.data.__dlpack__(**options)

        def __dlpack_device__(self) -> tuple[int, int]:
            device: tuple[int, int] = self.data.__dlpack_device__()
            return device

    tensor = Tensor()
    for there in (cupy.asarray(tensor), cupy.from_dlpack(tensor)):
        assert cupy.may_share_memory(there, tensor.data)
        assert there.tolist() == [0, 1, 2, 3, 4, 5]
    with pytest.raises(BufferError):
        cupy.from_dlpack(np.ones(3))


def test_nothing_is_kept_alive(cupy: Double) -> None:
    a, b, m = operands(cupy)
    results = [expression(cupy, a, b, m) for expression in EXPRESSIONS.values()]
    del a, b, m, results
    gc.collect()
    assert cupy.log.bytes_in_use == 0
