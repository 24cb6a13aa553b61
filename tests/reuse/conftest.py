from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from warm import Warm, warm_process
from worker_process import WorkerProcess, worker_process

sys.path.append(str(Path(__file__).parent.parent / "core"))  # its random projects

if TYPE_CHECKING:
    from tests.conftest import ProjectOnDisk


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    with warm_process() as warm:
        yield warm


@pytest.fixture(scope="session")
def plain() -> Iterator[Warm]:
    """What processes are forked from that know Hamilton and nothing of hamdev."""
    with warm_process(is_plain=True) as plain:
        yield plain


@pytest.fixture
def start(
    warm: Warm, project: ProjectOnDisk, tmp_path: Path
) -> Iterator[Callable[..., WorkerProcess]]:
    """Starts workers on the project; all share one place for slow values."""
    with ExitStack() as stack:

        def start(**options: Any) -> WorkerProcess:
            keep_in = tmp_path / "kept"
            return stack.enter_context(worker_process(warm, project.root, keep_in, **options))

        yield start


@pytest.fixture
def worker(start: Callable[..., WorkerProcess]) -> WorkerProcess:
    return start()
