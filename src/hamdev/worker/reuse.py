"""What one run reuses of what is remembered, and what it adds to that."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import FunctionType
from typing import Any

from hamilton.node import Node
from msgspec import structs

from hamdev.core.plan import Known, PlannedNode, Precedent, Step, is_same, may_find, plan
from hamdev.core.references import Key
from hamdev.core.versions import Difference
from hamdev.messages import Because, Diff, Restored
from hamdev.pipeline.file_states import FileState
from hamdev.pipeline.node_versions import NodeVersions, explained
from hamdev.worker.candidates import Candidates
from hamdev.worker.difference import UNSEEN, difference, summary_difference
from hamdev.worker.fingerprint import fingerprint
from hamdev.worker.keeping import Keeping
from hamdev.worker.memory import Memory, Remembered, Shown, unique_token
from hamdev.worker.reads import FileReads
from hamdev.worker.sizes import size_of
from hamdev.worker.summary import summarize

VersionOf = Callable[[type | FunctionType], str | None]


class RunReuse:
    """Decides for the nodes of one run whether their remembered values stand for new ones.

    Args:
        pipeline: its name.
        run, revision: of the run.
        nodes: all nodes that are needed, each after its inputs.
        wanted: nodes whose values are asked for.
        outside: name → value of inputs, config values and overrides.
        versions: code versions of the nodes.
        memory: what is remembered.
        reads: watches what nodes open.
        version_of: the code version of a class or function of the project.
        objects: what a part of a version stands for, if it is a value.
        cached_files: files that were read by functions that keep what they return.
        keeping: values that outlive the process.
        before: what the pipeline's last plan was like.
    """

    def __init__(
        self,
        pipeline: str,
        run: int,
        revision: int,
        nodes: Sequence[Node],
        wanted: Sequence[str],
        outside: Mapping[str, Any],
        versions: NodeVersions,
        memory: Memory,
        reads: FileReads,
        version_of: VersionOf,
        objects: Callable[[Key], Any],
        keeping: Keeping,
        cached_files: Callable[[Collection[Key]], Mapping[str, FileState]],
        before: PlanMade | None = None,
    ) -> None:
        self._before = before or PlanMade()
        self._pipeline = pipeline
        self._run = run
        self._revision = revision
        self._versions = versions
        self._memory = memory
        self._reads = reads
        self._version_of = version_of
        self._objects = objects
        self._keeping = keeping
        self._cached_files = cached_files
        self._lost: set[str] = set()
        self._diffs: dict[str, Diff] = {}
        self.wanted = list(wanted)
        self._remembered = memory.of(pipeline)
        self._nodes = {node.name: node for node in nodes}
        self._planned = self._plan_nodes()
        if versions.has_state:
            self._note_state()
        self._tokens: dict[str, bytes | None] = {
            name: self._token(value)[0] for name, value in outside.items()
        }
        self._candidates: dict[str, frozenset[str]] = {}
        self._covered: dict[str, set[Key]] = {}
        self._files_named = Candidates()
        self.steps: dict[str, Step] = {}
        self._forced: Mapping[str, Because] = {}
        self._found: dict[str, Remembered] = {}
        self.ran: list[str] = []
        self._failed_reads: dict[str, dict[str, FileState]] = {}

    def _plan_nodes(self) -> dict[str, PlannedNode]:
        """The nodes as the plan takes them; the same objects for those that are as they were."""
        versions, before = self._versions, self._before
        self._ignored = frozenset(n for n, node in self._nodes.items() if versions.is_ignored(node))
        known = before.planned if before.ignored == self._ignored else {}
        planned = {}
        for name, node in self._nodes.items():
            version = versions.version(name, node)
            last = known.get(name)
            if last is not None and last.version == version and before.nodes.get(name) is node:
                planned[name] = last
                continue
            inputs = tuple(node.input_types)
            never = versions.never_reused(node)
            ignored = self._ignored.intersection(inputs)
            planned[name] = PlannedNode(name, version, inputs, never, ignored)
        return planned

    def plan(self, forced: Mapping[str, Because]) -> dict[str, Step]:
        """What is going to happen to each node."""
        known = _Known(self._remembered)
        outside = {name: token for name, token in self._tokens.items() if token is not None}
        nodes = list(self._planned.values())
        self._forced = forced
        settled = self._settled(outside)
        while True:
            self._found = {}
            precedent = Precedent(settled, self._before.tokens)
            self.steps = plan(
                nodes, known, outside, self.wanted, forced, self._explain, self._find, precedent
            )
            # What was just found on disk is not believed before it has been read.
            served = [name for name in self.wanted if name in self._found]
            needed = {*self._needed(), *served}
            lost = [name for name in needed if not self._keeping.load(self._reused(name))]
            if not lost:
                break
            for name in lost:
                known.forget(name)
                settled.pop(name, None)
            self._lost.update(lost)
        for name, remembered in self._found.items():
            self._adopt(name, remembered)
        for name, step in self.steps.items():
            if step.action == "reuse":
                self._tokens[name] = self._remembered[name].token
                self._confirm(name)
            else:
                self._tokens[name] = None
        return self.steps

    def _settled(self, outside: Mapping[str, bytes]) -> dict[str, Step]:
        """The steps of the plan before that only other inputs could change."""
        before = self._before
        if before.planned.keys() != self._planned.keys() or before.outside != outside.keys():
            return {}
        return {
            name: step
            for name, (remembered, step) in before.reused.items()
            if before.planned[name] is self._planned[name]
            and self._remembered.get(name) is remembered
            and remembered.has_value
            and not remembered.spoilt
        }

    def made(self) -> PlanMade:
        """The plan that was made, for the next one."""
        reused = {
            name: (remembered, step)
            for name, step in self.steps.items()
            if step.action == "reuse"
            and step.because[0].kind == "unchanged"
            and not (remembered := self._remembered[name]).files
        }
        tokens = {name: token for name, token in self._tokens.items() if token is not None}
        outside = frozenset(tokens.keys() - self.steps.keys())
        return PlanMade(self._nodes, self._planned, self._ignored, tokens, outside, reused)

    def _needed(self) -> list[str]:
        """The reused nodes whose values what runs takes."""
        taken = {i for n, s in self.steps.items() if s.action == "run" for i in self._inputs(n)}
        return [n for n in taken if n in self.steps and self.steps[n].action == "reuse"]

    def _inputs(self, name: str) -> tuple[str, ...]:
        return self._planned[name].inputs

    def _reused(self, name: str) -> Remembered:
        return self._found.get(name) or self._remembered[name]

    def _find(self, node: PlannedNode, tokens: Mapping[str, bytes | None]) -> Known | None:
        if node.name in self._lost:
            return None
        found = self._keeping.find(node, tokens, self._run, self._revision)
        if found is None:
            return None
        self._found[node.name] = found
        return found.known()

    def _adopt(self, name: str, remembered: Remembered) -> None:
        remembered.parts = partial(self._versions.parts, self._nodes[name])
        diff = self._difference(self._previous(name), remembered)
        if diff is not None:
            self._diffs[name] = diff
        self._remembered[name] = remembered
        self._memory.keep(self._pipeline, name, remembered)

    def values(self, targets: Collection[str]) -> dict[str, Any]:
        """The reused values that the run needs: inputs of what runs, and those of `targets`."""
        wanted = {n for n in targets if n in self.steps and self.steps[n].action == "reuse"}
        needed = [*self._needed(), *(n for n in wanted if self._keeping.load(self._remembered[n]))]
        return {name: self._remembered[name].value for name in needed}

    def targets(self) -> list[str]:
        """The nodes to ask for so that all that is to run does."""
        running = {name for name, step in self.steps.items() if step.action == "run"}
        below = {i for name in running for i in self._planned[name].inputs}
        return [name for name in running if name not in below]

    def restored(self) -> dict[str, Restored]:
        """Reused values that nobody was shown when they were computed."""
        return {
            name: Restored(
                ms=round(known.seconds * 1e3, 3), summary=known.summary, diff=self._diffs.get(name)
            )
            for name, step in self.steps.items()
            if step.action == "reuse" and (known := self._remembered[name]).is_restored
        }

    # -- during the run -----------------------------------------------------------------------

    def recall(self, name: str) -> Remembered | None:
        """The value of a node whose inputs turned out to be those of another time."""
        step = self.steps.get(name)
        if step is None or step.action != "run":
            return None
        remembered = self._remembered.get(name)
        node = self._planned[name]
        if step.is_certain or remembered is None or not remembered.has_value:
            is_right = False
        else:
            is_right = is_same(node, remembered.known(), self._tokens)
        if not is_right and may_find(node, self._tokens, self._forced):
            found = None
            if name not in self._lost:
                found = self._keeping.find(node, self._tokens, self._run, self._revision)
            if found is None or not self._keeping.load(found):
                return None
            self._adopt(name, found)
            remembered, is_right = found, True
        if not is_right or remembered is None or not self._keeping.load(remembered):
            return None
        self._tokens[name] = remembered.token
        self._confirm(name)
        return remembered

    def begin(self, name: str, inputs: Mapping[str, Any]) -> None:
        """The node is about to run."""
        node = self._nodes[name]
        covered = self._covered[name] = self._versions.covered(node)
        constants = [self._objects(key) for key in covered]
        found = self._files_named.paths(node.callable, constants, inputs)
        self._candidates[name] = found
        self._reads.begin(name, found)

    def keep(self, name: str, value: Any, seconds: float) -> tuple[Remembered, bool, Diff | None]:
        """Remember the value of a node that has run; is it another one, and what is different?"""
        files = {
            **self._end_reads(name),
            **self._cached_files(self._covered.pop(name, set())),
        }
        token, has_fingerprint = self._token(value)
        before = self._previous(name)
        planned = self._planned[name]
        self._tokens[name] = token
        remembered = Remembered(
            value=value,
            token=token,
            has_fingerprint=has_fingerprint,
            version=planned.version,
            inputs={i: known for i in planned.inputs if (known := self._tokens.get(i)) is not None},
            files=files,
            seconds=seconds,
            size=size_of(value),
            run=self._run,
            revision=self._revision,
            summary=summarize(value),
            parts=partial(self._versions.parts, self._nodes[name]),
        )
        self._memory.keep(self._pipeline, name, remembered)
        if not planned.state:
            self._keeping.keep(planned, remembered)
        self.ran.append(name)
        is_changed = before is None or before.token != token
        return remembered, is_changed, self._difference(before, remembered)

    def diff_of(self, name: str) -> Diff | None:
        """How the value that a node was found to have on disk differs from the one before."""
        return self._diffs.get(name)

    def _previous(self, name: str) -> Remembered | Shown | None:
        return self._remembered.get(name) or self._memory.shown(self._pipeline, name)

    def _difference(self, before: Remembered | Shown | None, now: Remembered) -> Diff | None:
        if before is None or before.token == now.token:
            return None
        found = None
        if isinstance(before, Remembered) and _are_comparable(before, now):
            found = difference(before.value, now.value)
        if found is None:
            # The value that people were shown is gone, but what they were shown of it is not.
            found = summary_difference(before.summary, now.summary)
        if found is None and isinstance(before, Remembered):
            found = UNSEEN if before.has_fingerprint and now.has_fingerprint else None
        return found and structs.replace(found, since=before.revision)

    def fail(self, name: str) -> None:
        """The node has no value; with other files it might have one."""
        self._failed_reads[name] = self._end_reads(name, has_failed=True)

    # -- after the run ------------------------------------------------------------------------

    def takers(self) -> dict[str, list[str]]:
        """Node → the nodes that ran and took its value."""
        found: dict[str, list[str]] = {}
        for name in self.ran:
            for taken in self._planned[name].inputs:
                if taken in self._planned:
                    found.setdefault(taken, []).append(name)
        return found

    def is_intact(self, remembered: Remembered) -> bool:
        """Whether a remembered value is still what it was when it was remembered."""
        return self._token(remembered.value)[0] == remembered.token

    def token_of(self, value: Any) -> bytes:
        """A token of a value; that of one without a fingerprint equals no other."""
        return self._token(value)[0]

    def files(self) -> dict[str, FileState]:
        """All files that the values of this pipeline, or the lack of them, depend on.

        What two nodes have read at different moments, and found different, is known to nobody.
        """
        remembered = self._memory.of(self._pipeline)
        reads = [
            known.files
            for name, known in remembered.items()
            if known.files and name in self._planned and name not in self._failed_reads
        ]
        found: dict[str, FileState] = {}
        for files in (*reads, *self._failed_reads.values()):
            for path, state in files.items():
                other = found.setdefault(path, state)
                if other.shown_digest != state.shown_digest:
                    found[path] = FileState(other.signature or state.signature, None)
        return found

    def note_parts(self, name: str) -> None:
        """Work out what a node's version covers, for explaining the next difference."""
        remembered = self._memory.get(self._pipeline, name)
        if remembered is not None and callable(remembered.parts):
            remembered.parts = remembered.parts()

    # -- details ------------------------------------------------------------------------------

    def _note_state(self) -> None:
        """Let the plan know which nodes may see what others do to module-level objects."""
        states: dict[str, frozenset[Key]] = {}
        members: dict[Key, list[str]] = {}
        for name, node in self._nodes.items():
            own = self._versions.state(node)
            for taken in node.input_types:
                own |= {s for s in states.get(taken, ()) if self._versions.may_spread(s)}
            states[name] = own
            for state in own:
                members.setdefault(state, []).append(name)
        for name, own in states.items():
            if own:
                # With another company it may see something else.
                company = sorted({other for state in own for other in members[state]})
                self._planned[name] = replace(
                    self._planned[name],
                    version=f"{self._planned[name].version} {company}",
                    state=frozenset(".".join(state) for state in own),
                )

    def _token(self, value: Any) -> tuple[bytes, bool]:
        found = fingerprint(value, self._version_of)
        return (found, True) if found is not None else (unique_token(), False)

    def _confirm(self, name: str) -> None:
        self._remembered[name].revision = self._revision

    def _end_reads(self, name: str, has_failed: bool = False) -> dict[str, FileState]:
        return self._reads.end(name, self._candidates.pop(name, ()), has_failed)

    def _explain(self, name: str) -> list[Because]:
        parts = self._remembered[name].parts
        before = parts() if callable(parts) else parts
        found = explained(before, self._versions.parts(self._nodes[name]))
        if found:
            return [_because(difference) for difference in found[:20]]
        return [Because(kind="code", name=name, text="its code has changed")]


@dataclass(frozen=True, slots=True)
class PlanMade:
    """What the next plan of the same pipeline can build on.

    Attributes:
        nodes: name → node.
        planned: name → the node, as the plan takes it.
        ignored: nodes whose values do not count for others.
        tokens: name → token, of what had one before the run.
        outside: names of inputs, config values and overrides among them.
        reused: name → the value and the step, where only other inputs lead to another step.
    """

    nodes: Mapping[str, Node] = field(default_factory=dict)
    planned: Mapping[str, PlannedNode] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()
    tokens: Mapping[str, bytes] = field(default_factory=dict)
    outside: frozenset[str] = frozenset()
    reused: Mapping[str, tuple[Remembered, Step]] = field(default_factory=dict)


class _Known(Mapping[str, Known]):
    """What the plan needs to know of remembered values, worked out when it asks."""

    def __init__(self, remembered: Mapping[str, Remembered]) -> None:
        self._remembered = dict(remembered)
        self._known: dict[str, Known] = {}

    def forget(self, name: str) -> None:
        """There is no such value."""
        self._remembered.pop(name, None)
        self._known.pop(name, None)

    def __getitem__(self, name: str) -> Known:
        if name not in self._known:
            self._known[name] = self._remembered[name].known()
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._remembered)

    def __len__(self) -> int:
        return len(self._remembered)


def _are_comparable(before: Remembered, now: Remembered) -> bool:
    """Whether both values are at hand, and the former one is still what it was then."""
    if not (before.is_in_memory and now.is_in_memory) or before.spoilt:
        return False
    if before.value is now.value:
        return False
    # A value that changed in place is found by its fingerprint, if it has one.
    return before.has_fingerprint or summarize(before.value) == before.summary


def _because(difference: Difference) -> Because:
    return Because(
        kind="code",
        text=str(difference),
        name=difference.name or None,
        file=difference.file or None,
        line=difference.line or None,
    )
