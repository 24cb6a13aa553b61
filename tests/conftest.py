from __future__ import annotations

import asyncio
import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from hamdev import PipelineManager

# A test that fails now and then tells nothing. To look for what no example has shown yet, run with
# HAMDEV_EXAMPLES=2000 or --hypothesis-seed=random.
settings.register_profile("the same each time", derandomize=True)
if "HAMDEV_EXAMPLES" in os.environ:
    wanted = int(os.environ["HAMDEV_EXAMPLES"])
    settings.register_profile("others each time", max_examples=wanted, deadline=None)
    settings.load_profile("others each time")
else:
    settings.load_profile("the same each time")


class ProjectOnDisk:
    """A project's folder with real modules in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "pipelines").mkdir(parents=True, exist_ok=True)

    def write(self, name: str, text: str) -> Path:
        """`name` is a path below the folder, or the short name of a pipeline module."""
        file = self.root / name if "/" in name or "." in name else self.file(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
        return file

    def file(self, name: str) -> Path:
        return self.root / "pipelines" / f"{name}.py"

    def manager(self) -> PipelineManager:
        return PipelineManager(self.root)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[ProjectOnDisk]:
    modules, path, meta_path = dict(sys.modules), list(sys.path), list(sys.meta_path)
    for name in modules:
        # Another test's modules of this name, whoever left them, are none of this project's.
        if name.partition(".")[0] == "pipelines":
            del sys.modules[name]
    try:
        yield ProjectOnDisk(tmp_path / "project")
    finally:
        sys.path[:], sys.meta_path[:] = path, meta_path
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None) or next(
                iter(getattr(module, "__path__", ())), ""
            )
            if str(file).startswith(str(tmp_path)):
                del sys.modules[name]
        for name, module in modules.items():
            sys.modules.setdefault(name, module)


def _sync(manager: PipelineManager, *args: Any, **keywords: Any) -> Any:
    return manager.run(*args, **keywords)


def _async(manager: PipelineManager, *args: Any, **keywords: Any) -> Any:
    async def run() -> Any:
        return await manager.run_async(*args, **keywords)

    return asyncio.run(run())


@pytest.fixture(params=[_sync, _async], ids=["run", "run_async"])
def execute(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`run` and `run_async` with the same signature: the manager, then its arguments."""
    return request.param
