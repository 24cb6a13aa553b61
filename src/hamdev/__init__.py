"""hamdev: save a Hamilton module, see the composed DAG's new results.

Everything is imported on first use, so that a client that only asks the daemon
something never pays for Hamilton or pandas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hamdev.clients.client import AsyncClient, Client, connect, connect_async
    from hamdev.pipeline import PipelineManager, RunConfig

__version__ = "0.1.0"
__all__ = [
    "AsyncClient",
    "Client",
    "PipelineManager",
    "RunConfig",
    "__version__",
    "connect",
    "connect_async",
]

_HOME = {
    "PipelineManager": "hamdev.pipeline",
    "RunConfig": "hamdev.pipeline",
    "Client": "hamdev.clients.client",
    "AsyncClient": "hamdev.clients.client",
    "connect": "hamdev.clients.client",
    "connect_async": "hamdev.clients.client",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
