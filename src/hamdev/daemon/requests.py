"""What each method of the protocol does; parameters in, result out."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

import anyio
import anyio.to_thread
import msgspec

from hamdev import __version__
from hamdev.core.session import CancelAsked
from hamdev.errors import nearest
from hamdev.messages import (
    PROTOCOL,
    Fetched,
    Graph,
    PipelineStatus,
    PlanStep,
    RowsRead,
    Status,
)
from hamdev.wire import (
    INVALID_PARAMS,
    NO_SUCH_FORMAT,
    NO_VALUE,
    OTHER_PROTOCOL,
    TIMED_OUT,
    UNKNOWN_METHOD,
    UNKNOWN_NAME,
    RpcError,
)

if TYPE_CHECKING:
    from hamdev.daemon.engine import Engine

FORMATS = ("text", "json", "csv", "parquet", "arrow", "pickle", "png")
DEFAULT_SYNC_S = 60.0
_MAX_PATH = 4096
MAX_ROWS = 1000
# Far longer than a worker takes, unless code of the user's keeps it from answering.
PATIENCE_S = 10.0
V = TypeVar("V", Fetched, RowsRead)


class _Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Named parameters of a method."""


class _Nothing(_Params, frozen=True, kw_only=True):
    pass


class _Hello(_Params, frozen=True, kw_only=True):
    protocol: int = PROTOCOL
    client: str | dict[str, Any] = ""


class _OfPipeline(_Params, frozen=True, kw_only=True):
    pipeline: str | None = None


class _Sync(_Params, frozen=True, kw_only=True):
    files: dict[str, str | None] | None = None
    timeout: float | None = None


class _Result(_Params, frozen=True, kw_only=True):
    node: str
    pipeline: str | None = None
    format: str = "text"


class _Source(_Params, frozen=True, kw_only=True):
    node: str
    pipeline: str | None = None


class _Rows(_Params, frozen=True, kw_only=True):
    node: str
    pipeline: str | None = None
    offset: Annotated[int, msgspec.Meta(ge=0, le=2**62)] = 0
    limit: Annotated[int, msgspec.Meta(ge=0, le=MAX_ROWS)] = 100


class _Why(_Params, frozen=True, kw_only=True):
    node: str
    pipeline: str | None = None


class _Rerun(_Params, frozen=True, kw_only=True):
    pipeline: str | None = None
    nodes: list[str] | None = None
    clean: bool = False


class Subscribe(_Params, frozen=True, kw_only=True):
    """Parameters of `subscribe`, which the connection answers itself."""

    since: int | None = None


class Requests:
    """Answers requests from what the engine knows.

    Args:
        engine: of the daemon.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lookups = anyio.CapacityLimiter(2)
        self._methods: dict[str, tuple[type[_Params], Callable[[Any], Awaitable[Any]]]] = {
            "hello": (_Hello, self._hello),
            "status": (_OfPipeline, self._status),
            "sync": (_Sync, self._sync),
            "result": (_Result, self._result),
            "rows": (_Rows, self._rows),
            "graph": (_OfPipeline, self._graph),
            "source": (_Source, self._source),
            "why": (_Why, self._why),
            "rerun": (_Rerun, self._rerun),
            "cancel": (_Nothing, self._cancel),
            "shutdown": (_Nothing, self._shutdown),
            "ping": (_Nothing, self._ping),
        }

    @property
    def methods(self) -> list[str]:
        """Names of all methods."""
        return sorted([*self._methods, "subscribe"])

    def snapshot(self) -> Status:
        """What is served now."""
        return self._engine.status()

    async def answer(self, method: str, params: Mapping[str, Any]) -> Any:
        """The result of a request.

        Raises:
            RpcError: what to answer instead.
        """
        if method not in self._methods:
            raise RpcError(
                UNKNOWN_METHOD,
                f"unknown method {method!r}",
                {"nearest": nearest(method, self.methods), "methods": self.methods},
            )
        kind, function = self._methods[method]
        return await function(convert(kind, params))

    # -- methods ------------------------------------------------------------------------------

    async def _hello(self, params: _Hello) -> dict[str, Any]:
        if params.protocol != PROTOCOL:
            who = "client" if params.protocol < PROTOCOL else "daemon"
            raise RpcError(
                OTHER_PROTOCOL,
                f"this daemon speaks protocol {PROTOCOL}, not {params.protocol}; upgrade the {who}",
                {"protocol": PROTOCOL, "upgrade": who},
            )
        engine = self._engine
        return {
            "protocol": PROTOCOL,
            "version": __version__,
            "python": engine.python,
            "hamilton": engine.hamilton,
            "pid": os.getpid(),
            "root": str(engine.project),
            "pipelines": list(engine.session.statuses()),
            "capabilities": self.methods,
            "revision": engine.session.revision,
            "seq": engine.hub.seq,
            "web": engine.page,
        }

    async def _status(self, params: _OfPipeline) -> Status:
        status = self._engine.status()
        if params.pipeline is None:
            return status
        name = self._pipeline(params.pipeline)
        return msgspec.structs.replace(status, pipelines={name: status.pipelines[name]})

    async def _sync(self, params: _Sync) -> Status:
        limit = DEFAULT_SYNC_S if params.timeout is None else params.timeout
        files = await self._files(params.files or ())
        if not await self._engine.sync(files, limit):
            status = self._engine.status()
            busy = [n for n, p in status.pipelines.items() if p.state in ("starting", "running")]
            raise RpcError(
                TIMED_OUT,
                f"no results for what is on disk within {limit:g} s"
                + (f"; still at work on {', '.join(busy)}" if busy else ""),
                {"pipelines": {n: status.pipelines[n].problems for n in busy}},
            )
        return self._engine.status()

    async def _result(self, params: _Result) -> dict[str, Any]:
        pipeline, _ = self._node(params.node, params.pipeline)
        if params.format not in FORMATS:
            raise RpcError(
                NO_SUCH_FORMAT,
                f"there is no format {params.format!r}",
                {"formats": list(FORMATS)},
            )
        engine = self._engine

        async def fetched(pipeline: str, node: str) -> Fetched | None:
            return await engine.fetch(pipeline, node, params.format)

        found = await self._of_value(params.node, pipeline, fetched)
        return _result(params.node, found)

    async def _rows(self, params: _Rows) -> dict[str, Any]:
        pipeline, _ = self._node(params.node, params.pipeline)
        engine = self._engine

        async def rows(pipeline: str, node: str) -> RowsRead | None:
            with _patience("rows", node):
                return await engine.rows(pipeline, node, params.offset, params.limit)

        found = await self._of_value(params.node, pipeline, rows)
        return {
            "node": params.node,
            "revision": found.revision,
            "run": found.run,
            "total": found.total,
            "offset": params.offset,
            "columns": found.columns,
            "columns_total": found.columns_total,
            "types": found.types,
            "rows": found.rows,
        }

    async def _of_value(
        self, node: str, pipeline: str, ask: Callable[[str, str], Awaitable[V | None]]
    ) -> V:
        """What a worker says of a node's value, which is computed again if it was given up.

        Raises:
            RpcError: there is no value, or it does not allow what was asked.
        """
        _, status = self._node(node, pipeline)
        answer = await ask(pipeline, node)
        if answer is not None and answer.missing and status.nodes[node].state == "fresh":
            await self._engine.compute_again(pipeline, node)
            pipeline, status = self._node(node, pipeline)
            answer = await ask(pipeline, node)
        if answer is None or answer.missing:
            raise RpcError(
                NO_VALUE,
                f"node {node!r} has no value yet" + _why_no_value(status, node),
                {"state": status.nodes[node].state},
            )
        if answer.error is not None:
            raise RpcError(NO_SUCH_FORMAT, answer.error, {"formats": answer.formats or []})
        return answer

    async def _graph(self, params: _OfPipeline) -> Graph:
        pipeline = self._only_pipeline(params.pipeline)
        graph = await self._engine.graph(pipeline)
        if graph is None:
            status = self._engine.session.statuses()[pipeline]
            why = f": {status.problems[0].message}" if status.problems else ""
            raise RpcError(
                NO_VALUE,
                f"pipeline {pipeline!r} has no DAG to show yet{why}",
                {"state": status.state},
            )
        return graph

    async def _source(self, params: _Source) -> dict[str, Any]:
        node = params.node
        close: list[str] = []
        is_known = False
        for pipeline in self._pipelines_with(node, params.pipeline):
            with _patience("source", node):
                found = await self._engine.source(pipeline, node)
            if found is None or found.run is None:
                continue
            is_known = True
            if found.nearest is not None:
                close += found.nearest
                continue
            if found.text is None:
                why = found.error or f"the source of {node!r} is not known"
                raise RpcError(NO_SUCH_FORMAT, why, {"formats": []})
            return {
                "node": node,
                "revision": self._engine.session.composed(pipeline).get(found.run),
                "module": found.module,
                "file": found.file,
                "line": found.line,
                "text": found.text,
                "cut": found.cut,
            }
        if not is_known:
            raise RpcError(NO_VALUE, "no DAG is composed yet, so no function is known")
        raise _unknown_node(node, close)

    async def _why(self, params: _Why) -> PlanStep:
        pipeline, _ = self._node(params.node, params.pipeline)
        step = self._engine.session.why(pipeline, params.node)
        if step is None:
            raise RpcError(NO_VALUE, f"no run has come as far as node {params.node!r} yet")
        return step

    async def _rerun(self, params: _Rerun) -> dict[str, int]:
        engine = self._engine
        statuses = engine.session.statuses()
        nodes = tuple(dict.fromkeys(params.nodes or ()))
        if params.pipeline is not None:
            pipelines = [self._pipeline(params.pipeline)]
        else:
            pipelines = list(statuses)
        of_pipelines = {node for name in pipelines for node in statuses[name].nodes}
        for node in nodes:
            if node not in of_pipelines:
                self._node(node, params.pipeline)  # says what is wrong with it
        if nodes and params.pipeline is None:
            pipelines = [n for n, p in statuses.items() if not p.nodes.keys().isdisjoint(nodes)]
        engine.rerun(pipelines, nodes, params.clean)
        run = engine.session.queued_run(pipelines[0]) if pipelines else None
        return {"run": run if run is not None else 0}

    async def _cancel(self, params: _Nothing) -> dict[str, Any]:
        self._engine.hand_in(CancelAsked())
        return {}

    async def _shutdown(self, params: _Nothing) -> dict[str, Any]:
        self._engine.stop()
        return {}

    async def _ping(self, params: _Nothing) -> dict[str, Any]:
        return {}

    # -- names --------------------------------------------------------------------------------

    async def _files(self, paths: Iterable[str]) -> list[str]:
        """The files that a client's paths lead to, as the daemon sees them.

        Paths are looked up in a thread, since there may be thousands and file systems may hang.
        """
        # The system knows no longer names, and to follow them anyway takes seconds.
        sane = [path for path in paths if len(path) <= _MAX_PATH and "\0" not in path]
        files = [os.path.normpath(self._engine.project / path) for path in sane]
        if not files:
            return []
        # Either may be the name that a file is known by.
        return files + await anyio.to_thread.run_sync(
            _real_paths, files, abandon_on_cancel=True, limiter=self._lookups
        )

    def _pipeline(self, name: str) -> str:
        known = list(self._engine.session.statuses())
        for candidate in (name, name.replace("-", "_"), name.rpartition(".")[2]):
            if candidate in known:
                return candidate
        raise RpcError(
            UNKNOWN_NAME,
            f"this daemon serves no pipeline {name!r}",
            {"nearest": nearest(name, known), "pipelines": known},
        )

    def _only_pipeline(self, name: str | None) -> str:
        """The pipeline of this name, or the only one there is."""
        if name is not None:
            return self._pipeline(name)
        known = list(self._engine.session.statuses())
        if len(known) != 1:
            text = f"several pipelines, {', '.join(known)}: say which (hamdev: with --pipeline)"
            text = text if known else "no pipeline"
            raise RpcError(UNKNOWN_NAME, f"this daemon serves {text}", {"pipelines": known})
        return known[0]

    def _pipelines_with(self, node: str, pipeline: str | None) -> list[str]:
        """Where to look for a node: those first that are known to have it."""
        if pipeline is not None:
            return [self._pipeline(pipeline)]
        statuses = self._engine.session.statuses()
        return sorted(statuses, key=lambda name: node not in statuses[name].nodes)

    def _node(self, node: str, pipeline: str | None) -> tuple[str, PipelineStatus]:
        statuses = self._engine.session.statuses()
        names = [self._pipeline(pipeline)] if pipeline is not None else list(statuses)
        for name in names:
            if node in statuses[name].nodes:
                return name, statuses[name]
        known = sorted({n for name in names for n in statuses[name].nodes})
        if not known:
            problems = [p.message for name in names for p in statuses[name].problems]
            why = f": {problems[0]}" if problems else "; the first run has not come that far"
            raise RpcError(NO_VALUE, f"no node has been seen yet{why}")
        raise _unknown_node(node, nearest(node, known))


def convert(kind: type[_Params], params: Mapping[str, Any]) -> Any:
    """`params` as the struct that a method takes.

    Raises:
        RpcError: a parameter is unknown, missing, or of the wrong type.
    """
    try:
        return msgspec.convert(dict(params), kind)
    except msgspec.ValidationError as error:
        known = [field.encode_name for field in msgspec.structs.fields(kind)]
        raise RpcError(INVALID_PARAMS, str(error), {"params": known}) from None


def _real_paths(files: Iterable[str]) -> list[str]:
    return [os.path.realpath(file) for file in files]


def _unknown_node(node: str, close: list[str]) -> RpcError:
    text = f"there is no node {node!r}" + (f"; did you mean {close[0]!r}?" if close else "")
    return RpcError(UNKNOWN_NAME, text, {"nearest": close})


@contextlib.contextmanager
def _patience(method: str, node: str) -> Iterator[None]:
    """Raise that the worker does not answer, if the block takes too long."""
    try:
        with anyio.fail_after(PATIENCE_S):
            yield
    except TimeoutError:
        raise RpcError(
            TIMED_OUT,
            f"the worker did not answer {method!r} of {node!r} within {PATIENCE_S:g} s; code of "
            "yours may keep it from that",
        ) from None


def _why_no_value(status: PipelineStatus, node: str) -> str:
    if isinstance(problem := status.nodes[node].problem, msgspec.Struct):
        return f": {cast('Any', problem).message}"
    if status.problems:
        return f": {status.problems[0].message}"
    return f"; it is {status.nodes[node].state}"


def _result(node: str, fetched: Fetched) -> dict[str, Any]:
    result = {
        "node": node,
        "revision": fetched.revision,
        "run": fetched.run,
        "type": fetched.type,
        "media_type": fetched.media_type,
    }
    if fetched.path is not None:
        return {**result, "path": fetched.path, "bytes": fetched.bytes}
    assert fetched.value is not None
    return {**result, "value": msgspec.Raw(fetched.value)}
