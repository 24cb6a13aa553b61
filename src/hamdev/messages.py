"""The structs that are serialised between processes, and nothing else is.

The first half is what clients see (section 4 of the contract), the second half is spoken between
the daemon and its workers.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

PROTOCOL = 1

ProblemKind = Literal["syntax", "import", "graph", "input", "node", "worker", "settings", "watch"]
NodeState = Literal["stale", "queued", "running", "fresh", "failed", "blocked"]
PipelineState = Literal["starting", "idle", "running", "failed"]
Outcome = Literal["ok", "failed", "cancelled", "superseded"]
Action = Literal["ran", "reused"]
NodeKind = Literal["function", "input", "config"]


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something wrong in the user's files or code, as data.

    Attributes:
        kind: which step failed.
        message: what happened, in one or a few lines.
        file: absolute path of the user's file.
        line: 1-based.
        column: 1-based.
        node: the node concerned.
        traceback: formatted, beginning in the user's code.
    """

    kind: ProblemKind
    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    node: str | None = None
    traceback: str | None = None


class Summary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A value in at most 4 KiB.

    Attributes:
        type: qualified name of the value's type.
        text: the value, or its beginning, as text.
        shape: its dimensions, where it has any.
        columns: column names of a table.
        rows: the first rows of a table, as texts.
        bytes: its size in memory, where that is known cheaply.
        types: the type of each of `columns`.
        nulls: how many values of each of `columns` are missing.
        ranges: what each of `columns` spans, as text; empty for one that has no order.
        sampled: if `nulls` and `ranges` are of a sample: of so many rows.
        picture: the value can be given as a picture, in the format `png`.
    """

    type: str
    text: str
    shape: list[int] | None = None
    columns: list[str] | None = None
    rows: list[list[str]] | None = None
    bytes: int | None = None
    types: list[str] | None = None
    nulls: list[int] | None = None
    ranges: list[str] | None = None
    sampled: int | None = None
    picture: bool = False


class Change(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One respect in which two values of a node differ.

    Attributes:
        kind: `value`, `type`, `shape`, `column`, `index`, `statistic`, `key`, `item`, `field`,
            `text` or `picture`.
        text: what a person would say: `1,000 → 998 rows`.
        name: of the column, key or field.
        before: what it was, as text.
        after: what it is now, as text.
    """

    kind: str
    text: str
    name: str | None = None
    before: str | None = None
    after: str | None = None


class Diff(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a node's new value differs from its last one, in at most 2 KiB.

    Attributes:
        text: the most telling changes, in one line.
        changes: one by one, the most telling ones first.
        since: the revision of the value that it is compared with.
        sampled: if it is of a sample: of so many rows or items.
    """

    text: str
    changes: list[Change] = []
    since: int | None = None
    sampled: int | None = None


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One node as it stands; `revision`, `run`, `ms` and `action` are those of its value.

    `diff` is there if the last run gave it another value.
    """

    state: NodeState
    revision: int | None = None
    run: int | None = None
    ms: float | None = None
    action: Action | None = None
    summary: Summary | UnsetType = UNSET
    problem: Problem | UnsetType = UNSET
    diff: Diff | UnsetType = UNSET


class PipelineStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One pipeline as it stands; `revision` and `run` are those of its last run."""

    modules: list[str]
    state: PipelineState
    revision: int
    run: int | None
    final_vars: list[str]
    nodes: dict[str, NodeStatus]
    problems: list[Problem]


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What the daemon serves."""

    revision: int
    seq: int
    pipelines: dict[str, PipelineStatus]


class GraphNode(msgspec.Struct, frozen=True, kw_only=True):
    """One node of a composed DAG; in a very long line the last fields are left out.

    Attributes:
        type: as people write it, such as `pd.DataFrame` or `dict[str, int]`.
        kind: `input` and `config` are values from outside, which have no function.
        module: in which the node's function is defined.
        file: absolute path.
        line: 1-based, where the function begins, its decorators included.
        doc: what the function's docstring says.
        tags: those that `@tag` or Hamilton itself has set.
    """

    name: str
    type: str
    kind: NodeKind
    module: str | UnsetType | None = None
    file: str | UnsetType | None = None
    line: int | UnsetType | None = None
    doc: str | UnsetType = ""
    tags: dict[str, str | list[str]] | UnsetType = {}


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """A pipeline's DAG as it was last composed.

    Attributes:
        revision: of the composition; older than the pipeline's while its modules do not load.
        run: which composed it.
        nodes: dependencies first.
        edges: (from, to): names, from a dependency to what depends on it; in a very long line,
            positions in `nodes`.
    """

    pipeline: str
    revision: int
    run: int
    nodes: list[GraphNode]
    edges: list[tuple[str, str]] | list[tuple[int, int]]


class Because(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One reason why a node runs or is reused."""

    kind: str
    text: str
    name: str | None = None
    file: str | None = None
    line: int | None = None


class PlanStep(msgspec.Struct, frozen=True, kw_only=True):
    """What is going to happen to one node."""

    node: str
    action: Literal["run", "reuse"]
    because: list[Because]


class Cause(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What made a run happen: `start`, `save`, `settings`, `rerun` or `worker`."""

    kind: str
    text: str
    files: list[str] | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened. Fields that the type of event does not have are left out."""

    type: str
    revision: int
    seq: int = 0
    time: float = 0.0
    run: int | UnsetType = UNSET
    pipeline: str | UnsetType = UNSET
    files: list[str] | UnsetType = UNSET
    problems: list[Problem] | UnsetType = UNSET
    cause: Cause | UnsetType = UNSET
    plan: list[PlanStep] | UnsetType = UNSET
    node: str | UnsetType = UNSET
    ms: float | UnsetType = UNSET
    action: Action | UnsetType = UNSET
    changed: bool | UnsetType = UNSET
    summary: Summary | UnsetType = UNSET
    diff: Diff | UnsetType = UNSET
    problem: Problem | UnsetType = UNSET
    by: str | UnsetType = UNSET
    stream: str | UnsetType = UNSET
    text: str | UnsetType = UNSET
    outcome: Outcome | UnsetType = UNSET
    ran: int | UnsetType = UNSET
    reused: int | UnsetType = UNSET
    failed: int | UnsetType = UNSET
    message: str | UnsetType = UNSET
    fresh: bool | UnsetType = UNSET
    snapshot: Status | UnsetType = UNSET


# -- daemon → worker -----------------------------------------------------------------------------


class PipelineSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Which modules a pipeline is made of and how it is executed.

    Attributes:
        values: pickle of `{"inputs": …, "config": …}`; TOML has dates and times, which
            MessagePack would turn into text.
        data: patterns of files whose change reruns their readers, whoever they are.
        ignore: gitignore patterns of files that are no data.
    """

    name: str
    additional: tuple[str, ...] = ()
    final_vars: tuple[str, ...] = ()
    values: bytes = b""
    async_driver: bool = True
    executor: str = "inline"
    executor_options: dict[str, Any] = {}
    with_adapter: dict[str, bool | dict[str, Any]] = {}
    timeout_s: float | None = None
    data: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()


class _Tagged(msgspec.Struct, frozen=True, kw_only=True, tag=True, tag_field="is_a"):
    """Carries its class name on the wire."""


class Run(_Tagged, frozen=True, kw_only=True):
    """Load the pipeline again from source and execute what has to be executed.

    Attributes:
        forced: nodes that are executed whatever is remembered; None: all.
        forced_by: because of what.
        clean: forget all that is kept on disk first.
    """

    run: int
    revision: int
    spec: PipelineSpec
    forced: tuple[str, ...] | None = ()
    forced_by: str = ""
    clean: bool = False


class Cancel(_Tagged, frozen=True, kw_only=True):
    """Interrupt this run, and no other one."""

    run: int


class Preload(_Tagged, frozen=True, kw_only=True):
    """Import these third-party modules now, so that a later run need not."""

    modules: list[str]


class Anticipate(_Tagged, frozen=True, kw_only=True):
    """A file of this pipeline was written; a run is likely to come as soon as it has settled.

    What a run needs and what is no user code (reading, parsing, planning) can be done now.
    """

    spec: PipelineSpec


class Fetch(_Tagged, frozen=True, kw_only=True):
    """Give a node's value in a format; over `inline_bytes` as a file in `folder`."""

    request: int = 0
    pipeline: str
    node: str
    format: str
    folder: str
    inline_bytes: int


class Describe(_Tagged, frozen=True, kw_only=True):
    """Describe the DAG of a pipeline as it was last composed."""

    request: int = 0
    pipeline: str


class ReadSource(_Tagged, frozen=True, kw_only=True):
    """Give the text of a node's function as it was loaded."""

    request: int = 0
    pipeline: str
    node: str


class ReadRows(_Tagged, frozen=True, kw_only=True):
    """Give some rows of a node's value."""

    request: int = 0
    pipeline: str
    node: str
    offset: int
    limit: int


class GiveUp(_Tagged, frozen=True, kw_only=True):
    """Nobody waits any more for the answer to a `Fetch` or `ReadRows`."""

    request: int


class Limit(_Tagged, frozen=True, kw_only=True):
    """Keep this much of what nodes compute from now on, as `[memory]` of the settings says."""

    max_bytes: int
    keep_slower_than_ms: int
    disk_max_bytes: int


Question = Fetch | ReadRows | Describe | ReadSource
Command = Run | Cancel | Preload | Anticipate | Question | GiveUp | Limit


# -- worker → daemon -----------------------------------------------------------------------------


class Ready(_Tagged, frozen=True, kw_only=True):
    """The worker has imported Hamilton and takes commands."""

    python: str
    hamilton: str


class Loaded(_Tagged, frozen=True, kw_only=True):
    """What the worker read from disk for a run, whether or not loading succeeded.

    Attributes:
        files: path → sha256 of the content, or None for a file that is missing.
        third_party: modules outside the project that the project imports.
    """

    run: int
    files: dict[str, str | None]
    third_party: list[str]


class NodePlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where a node's function is defined."""

    file: str | None = None
    line: int | None = None


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """A value from before this worker's time, that is served again.

    `diff` is there if the node had another value just before.
    """

    ms: float
    summary: Summary
    diff: Diff | None = None


class Planned(_Tagged, frozen=True, kw_only=True):
    """The pipeline is composed; this is what is going to happen to its nodes.

    Attributes:
        modules: names, in the order in which later ones win.
        nodes: node → the place of its function, dependencies first.
        plan: a step for each of the nodes.
        restored: reused nodes whose values this worker did not compute itself.
        blocked: leaf nodes that cannot be computed, and why.
    """

    run: int
    modules: list[str]
    final_vars: list[str]
    nodes: dict[str, NodePlace]
    plan: list[PlanStep]
    blocked: dict[str, Problem]
    warnings: list[str]
    restored: dict[str, Restored] = {}


class NodeStarted(_Tagged, frozen=True, kw_only=True):
    """A node's function is about to be called."""

    run: int
    node: str


class NodeFinished(_Tagged, frozen=True, kw_only=True):
    """A node has a value; `ms` is the time in its own function.

    Attributes:
        action: `reused` if the run got this far to find that nothing had changed.
        changed: the value is another one than before.
        diff: what has changed in it, if there was a value before.
    """

    run: int
    node: str
    ms: float
    changed: bool
    summary: Summary
    action: Action = "ran"
    diff: Diff | None = None


class NodeFailed(_Tagged, frozen=True, kw_only=True):
    """A node raised."""

    run: int
    node: str
    ms: float
    problem: Problem


class NodeBlocked(_Tagged, frozen=True, kw_only=True):
    """A node is not executed since `by`, upstream of it, failed."""

    run: int
    node: str
    by: str


class Interrupted(_Tagged, frozen=True, kw_only=True):
    """The run's user code was just told to stop, by an exception raised in it.

    From here on it is the user code that takes its time; without this report it may be in a
    library's C code, where no exception can be raised yet.
    """

    run: int


class Output(_Tagged, frozen=True, kw_only=True):
    """Lines that user code printed."""

    run: int | None
    node: str | None
    stream: Literal["stdout", "stderr"]
    text: str


class Spoilt(_Tagged, frozen=True, kw_only=True):
    """Nodes changed their inputs in place; what is wrong because of that is to be computed again.

    Attributes:
        run: the run in which that happened.
        nodes: whose values are wrong.
        warnings: which node changed which input.
    """

    run: int
    pipeline: str
    nodes: list[str]
    warnings: list[str]


class Tidied(_Tagged, frozen=True, kw_only=True):
    """What the values of a run need looking after has been done; `Spoilt` came before it."""

    run: int


class RunEnded(_Tagged, frozen=True, kw_only=True):
    """A run is over, and the worker takes the next one.

    Attributes:
        outcome: `ok`, `failed` or `cancelled`.
        load_problems: why the modules could not be loaded or composed; then no node ran.
        problems: what went wrong afterwards, beyond the nodes' own problems.
        is_worn: no node ran, since the process still has what code has done that is another by
            now; a new process is to execute the run.
    """

    run: int
    outcome: Outcome
    ms: float
    load_problems: list[Problem] = []
    problems: list[Problem] = []
    is_worn: bool = False


class Fetched(_Tagged, frozen=True, kw_only=True):
    """The answer to `Fetch`: a value, a file, or the reason why there is neither.

    Attributes:
        value: JSON text: of the value itself for `json`, of its text for `text` and `csv`, of
            base64 for the others.
        path: the file that holds the value's bytes.
        missing: there is no value of this node yet.
        formats: set if the value cannot be given in the wanted format: those that it allows.
    """

    request: int
    revision: int | None = None
    run: int | None = None
    type: str | None = None
    media_type: str | None = None
    value: str | None = None
    path: str | None = None
    bytes: int | None = None
    missing: bool = False
    formats: list[str] | None = None
    error: str | None = None


class RowsRead(_Tagged, frozen=True, kw_only=True):
    """The answer to `ReadRows`.

    Attributes:
        total: how many rows the value has.
        columns: of a pandas value, the first one is its index.
        columns_total: how many there are, if not all of them are given.
        missing, formats, error: as in `Fetched`.
    """

    request: int
    revision: int | None = None
    run: int | None = None
    total: int = 0
    columns: list[str] = []
    columns_total: int = 0
    types: list[str] = []
    rows: list[list[str]] = []
    missing: bool = False
    formats: list[str] | None = None
    error: str | None = None


class Described(_Tagged, frozen=True, kw_only=True):
    """The answer to `Describe`; `run` is the one that composed the DAG, None if there is none."""

    request: int
    pipeline: str
    run: int | None = None
    nodes: list[GraphNode] = []
    edges: list[tuple[str, str]] = []
    error: str | None = None


class SourceRead(_Tagged, frozen=True, kw_only=True):
    """The answer to `ReadSource`.

    Attributes:
        run: which composed the DAG, None if there is none.
        nearest: set if the DAG has no such node: those that may have been meant.
        text: with the decorators; None if there is none to be had: `error` says why.
        cut: it is longer than what is given.
    """

    request: int
    run: int | None = None
    nearest: list[str] | None = None
    module: str | None = None
    file: str | None = None
    line: int | None = None
    text: str | None = None
    cut: bool = False
    error: str | None = None


Answer = Fetched | RowsRead | Described | SourceRead
Report = (
    Ready
    | Loaded
    | Planned
    | NodeStarted
    | NodeFinished
    | NodeFailed
    | NodeBlocked
    | Interrupted
    | Output
    | Spoilt
    | Tidied
    | RunEnded
    | Answer
)
