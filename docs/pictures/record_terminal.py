"""Records the README's picture of the terminal: real saves in a copy of the sample project.

    python docs/pictures/record_terminal.py

It needs `pip install -e '.[test]'`, and writes `terminal.svg` beside itself.
"""

from __future__ import annotations

import fcntl
import html
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyte

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
COLUMNS, LINES = 80, 60
LIMIT_S = 60.0
GOOD = "    return precipitation >= wet_day_mm\n"
# What is saved, and what the terminal says when it has shown that.
SAVES = [
    (GOOD.replace(">=", ">"), "reused"),
    (GOOD.replace("precipitation >=", "(precipitation >"), "failed in"),
    (GOOD.replace(">=", ">"), "ok again"),
]
HOLD_S = [1.5, 4.0, 3.5, 6.0]  # how long each step stays before the next one

CELL_W, CELL_H, MARGIN = 8.4, 18, 16
COLOURS = {
    "default": "#d4d7dd",
    "red": "#ff7b72",
    "green": "#7ee787",
    "brown": "#f2cc60",
    "blue": "#79c0ff",
    "cyan": "#76e3ea",
    "magenta": "#d2a8ff",
}
FAINT = "#8b939e"


class Recorder:
    """A terminal with `hamdev watch` in it."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self.screen = pyte.Screen(COLUMNS, LINES)
        # pyte does not know faint text, which is half of what makes a block calm.
        self._stream = pyte.ByteStream(self.screen)
        self._lock = threading.Lock()
        self._master = master
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            try:
                content = os.read(self._master, 1 << 16)
            except OSError:
                return
            # Faint is drawn as magenta, which hamdev does not use.
            content = content.replace(b"\x1b[2m", b"\x1b[35m").replace(b"\x1b[2;", b"\x1b[35;")
            with self._lock:
                self._stream.feed(content)

    def lines(self) -> list[list[Any]]:
        """The screen's cells by line, without empty lines at the end."""
        with self._lock:
            rows = [[self.screen.buffer[y][x] for x in range(COLUMNS)] for y in range(LINES)]
        while rows and not "".join(cell.data for cell in rows[-1]).strip():
            rows.pop()
        return rows

    def wait_for(self, text: str, below: int) -> list[list[Any]]:
        """The lines, once there is such a text below so many of them."""

        def found() -> list[list[Any]] | None:
            rows = self.lines()
            shown = "\n".join("".join(cell.data for cell in row) for row in rows[below:])
            return rows if text in shown else None

        return _eventually(found, f"{text!r} on the terminal")


def _eventually(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + LIMIT_S
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise SystemExit(f"waited {LIMIT_S:g} s for {what}")
        time.sleep(0.02)
    return value


@contextmanager
def recording(project: Path, home: Path) -> Iterator[Recorder]:
    """`hamdev watch` in the project's folder, which is in `home`."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    runtime = home / "run"
    runtime.mkdir(mode=0o700)
    environment = {
        **{k: v for k, v in os.environ.items() if k not in ("HAMDEV_SOCKET", "NO_COLOR")},
        "HOME": str(home),
        "TERM": "xterm-256color",
        "XDG_RUNTIME_DIR": str(runtime),
        "XDG_CACHE_HOME": str(home / "cache"),
    }
    process = subprocess.Popen(
        [Path(sys.executable).parent / "hamdev", "watch"],
        cwd=project,
        env=environment,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(slave)
    try:
        yield Recorder(process, master)
    finally:
        process.terminate()
        process.wait(LIMIT_S)
        os.close(master)


def record() -> tuple[list[list[Any]], list[int]]:
    """The terminal in the end, and how many lines it had after each step."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder).resolve()
        project = home / "weather"
        shutil.copytree(ROOT / "pipelines", project / "pipelines")
        shutil.copy(ROOT / "devserver.toml", project)
        setup = project / "pipelines" / "setup.py"
        with recording(project, home) as recorder:
            rows = recorder.wait_for("16 ran, 0 reused", 0)
            steps = [len(rows)]
            before = GOOD
            for text, said in SAVES:
                content = setup.read_text(encoding="utf-8")
                assert before in content, f"the sample no longer has the line {before!r}"
                fresh = setup.with_suffix(".new")
                fresh.write_text(content.replace(before, text), encoding="utf-8")
                fresh.replace(setup)
                rows = recorder.wait_for(said, steps[-1])
                steps.append(len(rows))
                before = text
    return [_without_token(row) for row in rows], steps


def _without_token(row: list[Any]) -> list[Any]:
    """The page's address is no secret once its daemon has gone, but looks like one."""
    head, token, _ = "".join(cell.data for cell in row).partition("?token=")
    if not token:
        return row
    shown = f"{head}{token}…".ljust(COLUMNS)
    return [cell._replace(data=data) for cell, data in zip(row, shown, strict=True)]


def svg(rows: list[list[Any]], steps: list[int]) -> str:
    """The terminal as a picture, whose parts appear one after the other if motion is wanted."""
    width = round(COLUMNS * CELL_W + 2 * MARGIN)
    height = len(rows) * CELL_H + 2 * MARGIN + 28
    whole = sum(HOLD_S)
    style = [
        "text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;"
        "white-space:pre}",
        ".b{font-weight:bold}",
    ]
    begin = 0.0
    for number, hold in enumerate(HOLD_S[:-1], start=1):
        begin += hold
        share = begin / whole * 100
        hidden = f"0%,{share - 0.1:.1f}%{{opacity:0}}"
        style.append(f"@keyframes k{number}{{{hidden}{share:.1f}%,100%{{opacity:1}}}}")
        style.append(f".s{number}{{animation:k{number} {whole}s infinite}}")
    style.append("@media (prefers-reduced-motion:reduce){g{animation:none!important}}")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label="hamdev watch after three saves">',
        f"<style>{''.join(style)}</style>",
        f'<rect width="{width}" height="{height}" rx="10" fill="#1b1f24"/>',
        *(
            f'<circle cx="{MARGIN + 6 + 20 * i}" cy="18" r="6" fill="{colour}"/>'
            for i, colour in enumerate(("#ff5f57", "#febc2e", "#28c840"))
        ),
    ]
    first = 0
    for number, last in enumerate(steps):
        parts.append(f'<g class="s{number}">')
        for y in range(first, last):
            parts += _line(rows[y], MARGIN + 28 + y * CELL_H + 13)
        parts.append("</g>")
        first = last
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def _line(row: list[Any], y: float) -> Iterator[str]:
    x = 0
    while x < COLUMNS:
        end = x + 1
        while end < COLUMNS and _look(row[end]) == _look(row[x]):
            end += 1
        text = "".join(cell.data for cell in row[x:end])
        if text.strip():
            lead = len(text) - len(text.lstrip())
            shown = text.strip()
            colour, bold = _look(row[x])
            yield (
                f'<text x="{MARGIN + (x + lead) * CELL_W:.1f}" y="{y}" fill="{colour}"'
                f"{' class=' + chr(34) + 'b' + chr(34) if bold else ''} "
                f'textLength="{len(shown) * CELL_W:.1f}">{html.escape(shown)}</text>'
            )
        x = end


def _look(cell: Any) -> tuple[str, bool]:
    colour = FAINT if cell.fg == "magenta" else COLOURS.get(cell.fg, COLOURS["default"])
    return colour, cell.bold


def main() -> None:
    """Write the picture."""
    file = HERE / "terminal.svg"
    file.write_text(svg(*record()), encoding="utf-8")
    print(f"{file}: {file.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
