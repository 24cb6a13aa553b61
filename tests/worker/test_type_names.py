"""Types as people write them."""

from __future__ import annotations

import collections.abc
import datetime
import enum
import pathlib
import typing
from typing import Annotated, Any, Literal, NewType, Optional, TypeVar, Union

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from hamdev.worker.type_names import MAX_NAME, type_name


class Colour(enum.Enum):
    RED = 1


class Outer:
    class Inner:
        pass


class Rude(type):
    def __getattribute__(cls, name: str) -> Any:
        raise RuntimeError(name)


UserId = NewType("UserId", int)
T = TypeVar("T")
WRITTEN: dict[str, Any] = {
    "int": int,
    "None": None,
    "Any": Any,
    "pd.DataFrame": pd.DataFrame,
    "pd.Series": pd.Series,
    "pl.DataFrame": pl.DataFrame,
    "pa.Table": pa.Table,
    "np.ndarray": np.ndarray,
    "np.float64": np.float64,
    "NDArray[np.float64]": npt.NDArray[np.float64],
    "Path": pathlib.Path,
    "date": datetime.date,
    "Outer.Inner": Outer.Inner,
    "UserId": UserId,
    "T": T,
    "dict[str, int]": dict[str, int],
    "dict[str, list[pd.Series]]": dict[str, list[pd.Series]],
    "tuple[int, ...]": tuple[int, ...],
    "Sequence[int]": collections.abc.Sequence[int],
    "int | None": int | None,
    "float | None": Optional[float],  # noqa: UP045 # what typing makes of it
    "int | str": Union[int, str],  # noqa: UP007 # likewise
    "Callable[[int, str], bool]": collections.abc.Callable[[int, str], bool],
    "Callable[..., bool]": collections.abc.Callable[..., bool],
    "Literal['a', 1, Colour.RED]": Literal["a", 1, Colour.RED],
    "Annotated[float, 'kg']": Annotated[float, "kg"],
    "type[int]": type[int],
    "Later": typing.ForwardRef("Later"),
    "text": "text",
}


@pytest.mark.parametrize("written", WRITTEN)
def test_as_it_is_written(written: str) -> None:
    assert type_name(WRITTEN[written]) == written


def test_old_aliases_of_typing() -> None:
    assert type_name(typing.Dict[str, typing.List[int]]) == "dict[str, list[int]]"  # noqa: UP006
    assert type_name(typing.Mapping[str, int]) == "Mapping[str, int]"


def test_a_local_class_goes_by_its_name() -> None:
    class Local:
        pass

    assert type_name(Local) == "Local"


def test_it_is_bounded_and_never_raises() -> None:
    deep: Any = int
    for _ in range(500):
        deep = list[deep]
    assert len(type_name(deep)) <= MAX_NAME
    assert len(type_name(Literal[tuple(f"value {n}" for n in range(1000))])) == MAX_NAME
    assert isinstance(type_name(Rude("Odd", (), {})), str)
    assert type_name(5) == "5"
