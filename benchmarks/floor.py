"""The floor: a bare loop that does, after a save, only what must be done. Started by a benchmark.

    python -P floor.py PROJECT SOCKET SETTLE_MS

It sees the write, waits until the file is quiet, compiles and executes the module from source into
the module object that is there, builds Hamilton's async driver, executes what is affected with
`overrides=` for everything else, and sends the value through a Unix socket. What is affected it is
told beforehand: telling that from the text is the work that it is spared. It keeps its values
itself, and neither checks nor reports anything.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from hamilton import async_driver
from watchfiles import awatch


class Floor:
    """One project's modules and values.

    Args:
        project: its folder.
        parts: names of the modules, in the order in which Hamilton gets them.
        settle_s: how long a file has to be quiet, in seconds.
    """

    def __init__(self, project: Path, parts: list[str], settle_s: float) -> None:
        self._folder = project / "pipelines"
        self._modules = {name: importlib.import_module(f"pipelines.{name}") for name in parts}
        self._settle_s = settle_s
        self._values: dict[str, Any] = {}
        self._content: dict[Path, bytes] = {}

    async def execute(self, wanted: list[str], affected: list[str]) -> None:
        """Build the DAG, and compute `affected` anew."""
        builder = async_driver.Builder().with_modules(*self._modules.values())
        dataflow = await builder.allow_module_overrides().build()
        if wanted:
            rerun = set(affected)
            kept = {name: value for name, value in self._values.items() if name not in rerun}
            self._values |= await dataflow.execute(wanted, overrides=kept)

    async def settled(self, file: Path) -> bool:
        """Wait until the file has been quiet long enough; False if it holds what it held before."""
        while (age := _age(file)) < self._settle_s:  # noqa: ASYNC110 - quiet has no event
            await asyncio.sleep(self._settle_s - age)
        content = file.read_bytes()
        before, self._content[file] = self._content.get(file), content
        return content != before

    async def follow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Do one round after the other, each announced by a line before the file is written."""
        await self.execute(wanted := json.loads(await reader.readline()), wanted)
        gc.collect()
        gc.freeze()  # as hamdev's worker does
        events = awatch(self._folder, step=1, watch_filter=None, recursive=False)
        following = asyncio.ensure_future(anext(events))
        _send(writer, {})
        while line := await reader.readline():
            task = json.loads(line)
            self._content.setdefault(file := Path(task["file"]), file.read_bytes())
            _send(writer, {})
            while True:
                changes = await following
                following = asyncio.ensure_future(anext(events))
                is_seen = any(path == task["file"] for _, path in changes)
                if is_seen and await self.settled(file):
                    break
            for name in task["executed"]:
                _execute(sys.modules[name])
            # All that is affected has to be kept, so all of it is asked for.
            await self.execute(task["affected"], task["affected"])
            _send(writer, {"value": str(self._values[task["observed"]])})


def _age(file: Path) -> float:
    return time.time() - file.stat().st_mtime


def _execute(module: ModuleType) -> None:
    assert module.__file__ is not None
    content = Path(module.__file__).read_bytes()
    exec(compile(content, module.__file__, "exec", dont_inherit=True), vars(module))


def _send(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
    writer.write(json.dumps(message).encode() + b"\n")


async def main() -> None:
    project, socket, settle_ms = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    sys.path.insert(0, str(project))
    reader, writer = await asyncio.open_unix_connection(socket, limit=1 << 24)
    parts = json.loads(await reader.readline())
    await Floor(project, parts, settle_ms / 1e3).follow(reader, writer)


if __name__ == "__main__":
    asyncio.run(main())
