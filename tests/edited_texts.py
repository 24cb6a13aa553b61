"""Texts of modules and edits of them, as odd as an editor may leave them."""

from __future__ import annotations

from hypothesis import strategies as st

PIECES = [
    "import a.b as c\n",
    "from . import d, e\n",
    "from __future__ import annotations\n",
    '"""Text."""\n',
    "X = 1\n",
    "Y = (\n    1,\n    2,\n)\n",
    "Z = 1; W = 2\n",
    "T = '''\ndef no(): ...\n'''\n",
    "V = 1 + \\\n    2\n",
    "def f(x: int) -> int:\n    global G\n    return c.y.z(x)\n",
    "@dec\n@other(1)\ndef g():\n    # indented\n    pass\n",
    "class K:\n    a = 1\n\n    def m(self):\n        import late\n        return exec\n",
    "if X:\n    Q = 1\nelse:\n    Q = 2\n",
    "try:\n    R = 1\nexcept E:\n    pass\n",
    "# a comment\n",
    "    # an indented comment\n",
    "\n",
]
LINES = [
    *(
        "else:\n",
        "    pass\n",
        "+ 3\n",
        "'''\n",
        "(\n",
        ")\n",
        "\\\n",
        "@dec\n",
        "\f\n",
        "# x \\\n",
    ),
    *("X = 2\n", "async def h(): ...\n", "\t1\n", "elif Y:\n    pass\n", "S = 1 \\\n", "x = '\n"),
    "from __future__ import division\n",
]
# What other statements mean depends on these.
SURROUNDINGS = [
    *("import sys as c\n", "import importlib as c\n", "import random as c\n", "import duckdb\n"),
    *("import functools as c\n", "from .c import c\n", "c = 1\n", "def len(x): return x\n"),
    *("__all__ = ['X']\n", "__all__ += ['Y']\n", "X: int\n", "from c import *\n"),
    "len(c.f())\n",
    "c.seed(1)\n",
    "c.X.append(c)\n",
    "def q(): return c.query(f'@{X}')\n",
    "def s(x): return c.sql(x)\n",
    "@c.cache\ndef r(x: 'c.X' = c.d): 'doc'; return c.modules['a'], c.reload\n",
    "if c.flag:\n    import e as X\nelse:\n    def X(): return c.y\n",
    "class L(c.B):\n    def m(self):\n        c.update(self)\n        return __c\n",
    "with c.d() as X: c.e = X\n",
]


@st.composite
def edits(draw: st.DrawFn, pieces: list[str] = PIECES) -> tuple[str, str]:
    """A text that may parse, and one that an edit has made of it."""
    before = "".join(draw(st.lists(st.sampled_from(pieces), max_size=8)))
    lines = before.splitlines(keepends=True)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(lines)))
        end = draw(st.integers(start, min(len(lines), start + 3)))
        lines[start:end] = draw(st.lists(st.sampled_from([*pieces, *LINES]), max_size=2))
    after = "".join(lines)
    if draw(st.booleans()):
        after = after.rstrip("\n")
    return before, after
