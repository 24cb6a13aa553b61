from __future__ import annotations

import os
import pickle
import sys
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hamdev.clients.values import bytes_in, object_from
from hamdev.errors import HamdevError
from other_user import UID, needs_root

if TYPE_CHECKING:
    from tests.conftest import ProjectOnDisk


def pickled(content: bytes) -> dict[str, Any]:
    return {"node": "shape", "type": "pipelines.shapes.Shape", "value": b64encode(content).decode()}


def global_pickle(module: str, name: str) -> bytes:
    """What a pickle of a class of another process begins with."""
    return f"c{module}\n{name}\n.".encode()


def test_text_json_and_binary_are_the_exact_bytes() -> None:
    assert bytes_in("text")({"value": "Zürich\n"}) == "Zürich\n".encode()
    assert bytes_in("json")({"value": {"ü": [1, 2.5, None]}}) == '{"ü":[1,2.5,null]}'.encode()
    assert bytes_in("parquet")({"value": b64encode(b"PAR1\x00").decode()}) == b"PAR1\x00"


def test_large_value_is_read_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "value.pickle"
    file.write_bytes(pickle.dumps(list(range(3))))
    answer = {"node": "n", "path": str(file), "bytes": 17}
    assert object_from(tmp_path)(answer) == [0, 1, 2]
    file.unlink()
    with pytest.raises(HamdevError, match=r"'n' is gone.*ask again"):
        object_from(tmp_path)(answer)


@needs_root
def test_a_file_of_somebody_else_is_not_unpickled(tmp_path: Path) -> None:
    file = tmp_path / "value.pickle"
    file.write_bytes(global_pickle("no_such_library", "Evil"))
    os.chown(file, UID, UID)
    answer = {"node": "n", "path": str(file), "bytes": file.stat().st_size}
    with pytest.raises(HamdevError, match=f"'n' belongs to uid {UID}"):
        object_from(tmp_path)(answer)


def test_classes_of_the_project_are_found_and_the_path_is_left_alone(
    project: ProjectOnDisk,
) -> None:
    project.write("shapes_to_unpickle.py", "class Shape: sides = 3\n")
    before = list(sys.path)
    shape = object_from(project.root)(pickled(global_pickle("shapes_to_unpickle", "Shape")))
    assert shape.sides == 3
    assert sys.path == before


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (global_pickle("no_such_library.frames", "Frame"), "no module 'no_such_library'"),
        (global_pickle("json", "NoSuchClass"), "'NoSuchClass'"),
        (b"\x80\x63garbage", "pickle protocol"),
    ],
)
def test_what_cannot_be_rebuilt_says_why_and_what_to_do(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(HamdevError, match=reason) as caught:
        object_from(tmp_path)(pickled(content))
    assert "node 'shape'" in str(caught.value)
    assert "result_as('shape', 'json')" in str(caught.value)
