from __future__ import annotations

from collections.abc import Iterator

import pytest
from real_daemon import Daemon, running


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for a whole module; each test lets it serve pipelines of its own."""
    root = tmp_path_factory.mktemp("project")
    (root / "pipelines").mkdir()
    (root / "pipelines" / "first.py").write_text("def one() -> int:\n    return 1\n")
    (root / "devserver.toml").write_text("[pipelines.first]\n")
    with running(root) as started:
        started.sync()
        yield started
