"""numpy's numbers and plain arrays in a pickle (https://docs.pytorch.org/docs/stable/notes/serialization.html).

The unpickler calls these in the place of numpy's own functions, which trust the file: a dtype from a file may claim
fields that lie outside its values.
"""

import re
from typing import Any

import numpy as np

_PLAIN = re.compile(r"[biufc]\d{1,2}|[SU]\d{1,4}")


class _Dtype:
    """A dtype of numbers, truth values or text; of its pickled state, only the byte order counts."""

    def __init__(self, code: str, align: bool = False, copy: bool = True) -> None:
        if not _PLAIN.fullmatch(code):
            raise ValueError(f"arrays of {code!r} are not plain numbers")
        self.real = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.real = self.real.newbyteorder(state[1])


class _Array(np.ndarray):
    """An array from a file; pickled again, it is numpy's."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, data = state
        super().__setstate__((1, shape, dtype.real, fortran, data))  # numpy compares the shape with the data's size

    def __reduce__(self) -> Any:
        return np.array(self).__reduce__()


def _scalar(dtype: _Dtype, data: bytes) -> np.generic:
    (value,) = np.frombuffer(data, dtype.real)
    return value


def _reconstruct(kind: type, shape: tuple[int, ...], code: bytes) -> _Array:
    return _Array((0,), "b")  # the state, which follows, brings shape and values


# Stand-in and the name that it answers to: numpy 2's, and numpy 1's.
NUMPY_VALUES: list[Any] = [(_Dtype, "numpy.dtype"), (_Array, "numpy.ndarray")] + [
    (function, f"numpy.{core}.multiarray.{name}")
    for core in ("core", "_core")
    for function, name in ((_scalar, "scalar"), (_reconstruct, "_reconstruct"))
]
