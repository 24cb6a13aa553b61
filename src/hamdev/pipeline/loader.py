"""Loading a project's modules all or nothing, under the names that the process knows them by.

`importlib.reload` keeps deleted names and leaves mixed code when it fails half-way. So a reload
here makes *fresh* module objects: the names to be reloaded are taken out of `sys.modules`,
imported again by the ordinary import system (dependencies come first by themselves), and put back
as they were if anything fails. Module objects that are in use by a run are never changed.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from hamdev.core.definitions import Definitions
from hamdev.core.references import Key
from hamdev.core.versions import Codebase
from hamdev.pipeline.entries import Entries, Entry
from hamdev.pipeline.finder import ProjectFinder, finder_of, forget_listings
from hamdev.pipeline.folder import ProjectFolder
from hamdev.pipeline.installed import tokens
from hamdev.pipeline.load_reads import LoadReads
from hamdev.pipeline.module_table import ModuleTable
from hamdev.pipeline.own_reads import digest_of
from hamdev.pipeline.patching import (
    Definer,
    Loaded,
    NotPatchableError,
    Patch,
    first_load,
    plan_patch,
)
from hamdev.pipeline.reloading import Reloading, ReloadMode
from hamdev.pipeline.sources import Source, SourceLoader
from hamdev.pipeline.state import ModuleState
from hamdev.pipeline.statements import TopLevel

__all__ = ["Project", "ReloadMode"]

# sys.modules belongs to the whole process, so loading is one at a time for all projects.
_loading_lock = threading.RLock()


class Project:
    """The modules below one folder, as they were last loaded.

    Args:
        root: the project's folder.
        pipelines_dir: the folder, relative to `root`, in which short module names are looked up.

    Attributes:
        generation: grows whenever a module was executed again as a whole, so that its classes and
            functions are other objects than before.
        whole_because: why the last load in the mode `patch` executed modules as a whole.
        state: what functions of the modules change while they run.
        load_reads: files that its modules have read while they were loaded.
        is_worn: after a load in the mode `patch`: the process has effects of modules that a new one
            would not have, such as an environment variable that nothing sets any more.
        token_of: a token that tells whether an object has changed; None if that cannot be told.
    """

    def __init__(self, root: Path, pipelines_dir: str = "pipelines") -> None:
        self._folder = ProjectFolder(root, pipelines_dir)
        self._finder = ProjectFinder(self._folder)
        self._table = ModuleTable(self._folder, self._finder)
        self._entries = Entries(self._folder, self._finder)
        self._reloading = Reloading(self._folder, self._finder)
        self._modules: dict[str, ModuleType] = {}
        self._sources: dict[str, Source] = {}
        self._definer = Definer()
        self._codebase: Codebase | None = None
        self._states: dict[str, Loaded] = {}
        self._patch: Patch | None = None
        self._anticipated: _Anticipated | None = None
        self._present_versions: dict[str, Mapping[str, str]] = {}
        self._reached_last: set[str] = set()
        self.generation = 0
        self.whole_because = ""
        self._expected: set[str] = set()
        self._effects: frozenset[tuple[Key, bytes]] = frozenset()
        self._failed_effects: frozenset[tuple[Key, bytes]] = frozenset()
        self.is_worn = False
        self.state = ModuleState()
        self.load_reads = LoadReads(self.owns)
        self.token_of: Callable[[Any], bytes | None] = lambda value: None

    def __repr__(self) -> str:
        return f"Project({str(self.root)!r})"

    # -- what the project knows ---------------------------------------------------------------

    @property
    def root(self) -> Path:
        """The project's folder: absolute, symbolic links resolved."""
        return self._folder.root

    def owns(self, file: str | None) -> bool:
        """Whether `file` is one of the project's own Python sources, not a library's."""
        return self._folder.owns(file)

    @property
    def sources(self) -> Mapping[str, Source]:
        """Module name → the text it was last loaded from, for all loaded project modules."""
        return dict(self._sources)

    @property
    def codebase(self) -> Codebase:
        """The code versions of what is loaded; only after a load in the mode `patch`."""
        assert self._codebase is not None
        return self._codebase

    def version(self, module: str, name: str) -> str:
        """As `Codebase.version`; what a load has found out already is not worked out again."""
        known = self._present_versions.get(module, {}).get(name)
        return known if known is not None else self.codebase.version(module, name)

    @property
    def module_names(self) -> list[str]:
        """Names of all loaded project modules."""
        return sorted(self._modules)

    def attempted_files(self) -> dict[str, str | None]:
        """File → sha256 of what the last load read, whether or not it succeeded.

        A file whose appearance would let a missing import succeed is given with None.
        """
        files: dict[str, str | None] = {
            # A folder of that name holds something, too.
            file: digest_of(file) if os.path.isdir(file) else None  # noqa: PTH112 - they are many
            for file in self._entries.missing
        }
        files.update((source.file, source.sha256) for source in self._finder.read.values())
        return files

    def attempted_sources(self) -> list[Source]:
        """The texts that the last load read, whether or not it succeeded, and those before it."""
        others = {name: s for name, s in self._sources.items() if name not in self._finder.read}
        return [*self._finder.read.values(), *others.values()]

    def on_read(self, function: Callable[[Source], None]) -> None:
        """Let `function` know of each text right before it is executed, which may never end."""
        self._finder.on_read = function

    def third_party_imports(self) -> list[str]:
        """Names of the modules outside the project that its modules import, and that are loaded."""
        names: set[str] = set()
        for module, source in self._sources.items():
            names |= self._reloading.scan(module, source).names
        return sorted(
            name
            for name in names
            if name in sys.modules
            and name not in self._modules
            and name.partition(".")[0] not in sys.stdlib_module_names
        )

    # -- loading ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """While it is open, imports of project modules in this context come from source."""
        with self._finder.active():
            yield

    def install(self) -> None:
        """Serve this project's modules to the whole process, whatever the context (the worker)."""
        if self._finder not in sys.meta_path:
            sys.meta_path.insert(0, self._finder)
        if str(self.root) not in sys.path:
            sys.path.insert(0, str(self.root))

    @contextlib.contextmanager
    def loading(
        self, entries: Sequence[Entry], reload: ReloadMode = "none"
    ) -> Iterator[list[ModuleType]]:
        """The modules for `entries`, committed when the block ends well, else undone.

        Args:
            entries: module names or module objects; later ones win. Of duplicates the last stays.
            reload: `none` uses what is loaded; `changed` reloads the entries, the project
                modules they import whose text differs from what was loaded, and all modules
                between them; `all` reloads every project module they import; `patch` executes
                only statements whose meaning changed, in place, and where that cannot be told
                does the same as `changed`. No run may be going on meanwhile.

        Yields:
            One module for each entry, in order, without duplicates.

        Raises:
            ModuleMissingError: a name was not found.
            BaseException: whatever a module raised while it was executed, with a note that
                says which pipeline module it came from.
        """
        with _loading_lock, self.active():
            if reload == "patch":
                self._take_in_late_imports()
            self.load_reads.begin()
            self._finder.read = {}
            self._entries.missing.clear()
            forget_listings(self._folder)
            before = self._table.take(self._modules)
            generation = self.generation
            try:
                self._adopt(entries)
                if reload == "patch":
                    modules = self._import_patched(entries)
                else:
                    if reload != "none":
                        self._take_out(entries, reload)
                    modules = self._entries.imported(entries, self._modules, reload != "none")
                with _present(modules):
                    yield modules
            except BaseException as error:
                self.generation = generation
                self._note_failed_effects()
                self.load_reads.fail()
                self._undo_patch()
                if isinstance(error, ModuleNotFoundError) and error.name:
                    for name in self._names_missing_with(error.name):
                        self._entries.missing.update(self._folder.candidate_files(name))
                self._table.put_back(before)
                raise
            self._commit(before, modules, entries)
            try:
                if reload == "patch":
                    self._commit_patch(entries)
            except BaseException:
                # The modules are loaded, but what is known of them is not what they are.
                self._codebase, self._states = None, {}
                raise
            finally:
                self._reloading.note_absent(self._sources)

    # -- patching -----------------------------------------------------------------------------

    def anticipate(self, entries: Sequence[Entry]) -> None:
        """Work out ahead what loading `entries` in the mode `patch` is going to need.

        It reads and parses, and changes nothing that anybody can see. What was worked out is used
        if the files still hold the same when they are loaded.

        Raises:
            NotPatchableError: they will have to be loaded as a whole.
            Exception: loading them will raise it too.
        """
        if self._codebase is None or not all(map(self._is_loaded, entries)):
            return  # finding a module may execute the package that it is in
        with _loading_lock, self.active():
            self._take_in_late_imports()
            before = self._finder.read
            self._finder.read = {}
            try:
                plan = self._plan(entries)
            finally:
                self._finder.read = before
            self._anticipated = plan

    def _is_loaded(self, entry: Entry) -> bool:
        names = self._entries.attempted_names(entry)
        return any(name in self._modules and name in sys.modules for name in names)

    def _take_in_late_imports(self) -> None:
        """Know what nodes have imported while they ran, and from which text."""
        if self._codebase is None:
            return
        late: dict[str, Source] = {}
        for name in self._finder.read.keys() - self._modules.keys():
            module = sys.modules.get(name)
            if module is None or finder_of(module) is not self._finder:
                continue
            loader = getattr(module.__spec__, "loader", None)
            if isinstance(loader, SourceLoader) and loader.source is not None:
                late[name] = loader.source
        if not late:
            return
        read = {name: self._definer.read(name, source)[0] for name, source in late.items()}
        self._codebase = self._codebase.updated(read)
        for name, source in late.items():
            self._modules[name], self._sources[name] = sys.modules[name], source
            self._states[name] = first_load(name, source, self._codebase, self._definer)
        self._take_load_reads({}, late)

    def _import_patched(self, entries: Sequence[Entry]) -> list[ModuleType]:
        """The modules for `entries`, patched if that can be done, else reloaded as a whole."""
        self._patch = None
        self.whole_because = ""
        try:
            fresh = self._apply_patch(entries)
            modules = self._entries.imported(entries, self._modules, reload=False)
            for name in fresh:
                read = self._finder.read.get(name)
                if name in sys.modules and (read is None or read.sha256 != fresh[name].sha256):
                    raise NotPatchableError(f"{name!r} was saved while it was loaded")
            return modules
        except NotPatchableError as reason:
            self._undo_patch()
            self.whole_because = str(reason)
            # Statements that do more than bind may have changed modules that stayed the same. But
            # what is broken will most likely not load, and is not worth much time.
            mode: ReloadMode = "changed" if reason.__cause__ is not None else "all"
        # What the patch has read may be something else by now, and what counts is what is executed.
        self._finder.read = {}
        for name in list(sys.modules):
            module = sys.modules[name]
            is_ours = module is not None and finder_of(module) is self._finder
            if is_ours and name not in self._modules:
                del sys.modules[name]  # the patch brought it in
        self._take_out(entries, mode)
        return self._entries.imported(entries, self._modules, reload=True)

    def _apply_patch(self, entries: Sequence[Entry]) -> dict[str, Source]:
        """Patch what is loaded; return the texts of modules that are going to be imported.

        Raises:
            NotPatchableError: the modules have to be reloaded as a whole.
            BaseException: what interrupts the user's statements.
        """
        if self._codebase is None:
            raise NotPatchableError("nothing has been loaded yet")
        plan = self._plan(entries)
        self._reached_last = plan.reached
        patch = self._patch = plan.patch
        try:
            patch.apply(self._modules, self._states)
        except Exception as error:
            # A new process may not come by here: what raises may only be imported by functions.
            raise NotPatchableError(f"a statement that has changed raises {error!r}") from error
        return {n: source for n, source in plan.changed.items() if n not in self._modules}

    def _plan(self, entries: Sequence[Entry]) -> _Anticipated:
        """What to execute again; taken from what was anticipated if that is still right."""
        assert self._codebase is not None
        reached, changed = self._reached(entries)
        outside = self._outside({**self._sources, **changed})
        data = self.load_reads.present_digests()
        renewed = self.state.changed(self.token_of) | self.load_reads.caches.outdated()
        self._expected = reached
        known, self._anticipated = self._anticipated, None
        if (
            known is not None
            and known.codebase is self._codebase
            and known.reached == reached
            and known.changed == changed
            and known.outside == outside
            and known.data == data
            and known.renewed == renewed
        ):
            return known
        patch = plan_patch(
            self._codebase, self._states, changed, outside, data, reached, self._definer, renewed
        )
        return _Anticipated(self._codebase, reached, changed, outside, data, renewed, patch)

    def _reached(self, entries: Sequence[Entry]) -> tuple[set[str], dict[str, Source]]:
        """The project's modules that entries lead to, and those texts that are new among them."""
        changed: dict[str, Source] = {}
        reached: set[str] = set()
        todo = list(map(self._entries.name_of, entries))
        while todo:
            name = todo.pop()
            if name in reached:
                continue
            parent = name.rpartition(".")[0]
            todo += [parent] if parent else []
            source = self._reloading.present_source(name, self._modules, self._sources)
            if source is None:
                continue
            reached.add(name)
            if self._sources.get(name) is source:
                self._finder.read[name] = source
            else:
                self._finder.record(name, source)
                changed[name] = source
            definitions = self._read(name, source)
            if self._reloading.scan(name, source).dynamic:
                todo += self._modules
            todo += [load for _, load in definitions.loads]
        return reached, changed

    def _read(self, name: str, source: Source) -> Definitions:
        """What a module's text defines; what it imports is then known without another look."""
        definitions, layout = self._definer.read(name, source)
        self._reloading.scan(name, source, layout)
        return definitions

    def _outside(self, sources: Mapping[str, Source]) -> dict[str, str]:
        names: set[str] = set()
        for module, source in sources.items():
            names |= self._reloading.scan(module, source).names
        own = {name.partition(".")[0] for name in sources}
        found = tokens(
            name for name in names if name.partition(".")[0] not in own or name in sys.modules
        )
        return {name: token for name, token in found.items() if name not in own}

    def _undo_patch(self) -> None:
        if self._patch is not None:
            self._patch.undo(self._modules, self._states)
            self._patch = None

    def _expected_sources(self, entries: Sequence[Entry]) -> Mapping[str, Source]:
        """The texts of modules that are not loaded, and that functions may import."""
        executed = dict(self._finder.read)
        try:
            return self._reached(entries)[1]
        except (NotPatchableError, SyntaxError):
            return {}
        finally:
            # A module that was saved meanwhile was executed from what it held before.
            self._finder.read.update(executed)

    def _commit_patch(self, entries: Sequence[Entry]) -> None:
        patch, self._patch = self._patch, None
        self._present_versions = {}
        if patch is not None:
            kept = self._sources.keys() | self._expected
            gone = {name: None for name in patch.codebase.modules if name not in kept}
            self._codebase = patch.codebase.updated(gone) if gone else patch.codebase
            self._states.update(patch.loaded)
            self._definer.keep(self._sources)
        else:
            # What functions import when they are called belongs to what they mean.
            sources = {**self._expected_sources(entries), **self._sources}
            read = {name: self._read(name, source) for name, source in sources.items()}
            self._codebase = Codebase(read, self._outside(sources))
            self._states = {}
            self._definer.keep(sources)
        for name in self._states.keys() - self._sources.keys():
            del self._states[name]
        for name, source in self._sources.items():
            if name not in self._states:
                self._states[name] = first_load(name, source, self._codebase, self._definer)
        if patch is not None:
            self._take_load_reads(patch.statements, self._reached_last)
        else:
            self._take_load_reads({}, self._states)
        if patch is not None:
            self.state.note_renewed(patch.renewed)
        if patch is None or patch.codebase is self._codebase:
            # What a patch did not look at has the versions of an earlier codebase.
            looked_at = self._states.keys() if patch is None else self._reached_last
            states = {name: self._states[name] for name in looked_at & self._states.keys()}
            self._present_versions = {name: state.versions for name, state in states.items()}
        layouts = {name: state.layout for name, state in self._states.items()}
        self.state.note(self._codebase, layouts, self.token_of)
        self._note_effects(is_whole=patch is None)

    def _note_effects(self, *, is_whole: bool) -> None:
        """Effects cannot be undone, and to have them twice may be another thing than once."""
        before, self._effects = self._effects, self.codebase.effects()
        has_them_twice = is_whole and bool(before)
        if has_them_twice or not before | self._failed_effects <= self._effects:
            self.is_worn = True

    def _note_failed_effects(self) -> None:
        """Of a load that failed, effects stay that nobody may have asked for in the end.

        Those of statements that are in the text afterwards, too, count as asked for, although they
        may have been had twice: otherwise each mistake would cost all values.
        """
        read = {}
        for name, source in self._finder.read.items():
            if self._sources.get(name) != source:
                with contextlib.suppress(NotPatchableError):
                    read[name] = self._definer.read(name, source)[0]
        if read:
            known = self._codebase or Codebase({}, {})
            self._failed_effects |= known.updated(read).effects()

    def _take_load_reads(
        self, executed: Mapping[str, Sequence[TopLevel]], loaded: Collection[str]
    ) -> None:
        """Let the versions cover the files that were read by what has been executed.

        Args:
            executed: module name → its statements that were executed, if not all of them were.
            loaded: modules that are up to date by now; others may wait for what they import.
        """
        assert self._codebase is not None
        layouts = {name: state.layout for name, state in self._states.items()}
        texts = self._codebase.modules
        is_other = self.load_reads.take(self._modules, texts, layouts, executed)
        self.load_reads.caches.know(self._codebase)
        if not is_other:
            return
        reads, data = self.load_reads.reads, self.load_reads.loaded_digests(loaded)
        self._codebase = self._codebase.updated({}, reads=reads, data=data)
        for name in self._states.keys() & set(loaded):
            source = self._states[name].source
            self._states[name] = first_load(name, source, self._codebase, self._definer)

    # -- loading as a whole -------------------------------------------------------------------

    def _commit(
        self,
        before: Mapping[str, ModuleType],
        modules: Sequence[ModuleType],
        entries: Sequence[Entry],
    ) -> None:
        if not self._table.is_as_taken(before):
            self._modules = self._table.present()
        if self._patch is None:
            # A patch has read all that these entries reach. What else is loaded may have changed or
            # gone since, and says nothing of these entries.
            self._note_read(self._modules)
        known = {**self._sources, **self._finder.read}
        self._sources = {name: known[name] for name in self._modules if name in known}
        self._reloading.forget_absent()
        self._entries.note_successors(entries, modules)
        self._table.give_back(before)

    def _note_read(self, modules: Mapping[str, ModuleType]) -> None:
        for name, module in modules.items():
            source = getattr(module.__loader__, "source", None)
            if isinstance(source, Source):
                self._finder.read.setdefault(name, source)

    def _names_missing_with(self, missing: str) -> set[str]:
        """`missing` and what is imported from below it: its folder alone may make it a package."""
        read = list(self._finder.read.items())
        names = {name for item in read for name in self._reloading.scan(*item).names}
        return {missing, *(name for name in names if name.startswith(missing + "."))}

    def _adopt(self, entries: Sequence[Entry]) -> None:
        """Load entries from source even if they lie outside the project's folder."""
        self._finder.adopted.update(map(self._entries.name_of, entries))

    def _take_out(self, entries: Sequence[Entry], reload: ReloadMode) -> None:
        starts = set(map(self._entries.name_of, entries))
        replaced = self._reloading.replaced(starts, reload, self._modules, self._sources)
        if replaced.executed:
            self.generation += 1
        leaving = {name: sys.modules.pop(name) for name in replaced.executed}
        twins = {name: _without(sys.modules[name], leaving) for name in replaced.packages}
        for name, twin in twins.items():
            sys.modules[name] = twin
            parent, _, attribute = name.rpartition(".")
            if parent in twins:
                setattr(twins[parent], attribute, twin)


@dataclass(frozen=True)
class _Anticipated:
    """A patch, and all that it was worked out from."""

    codebase: Codebase
    reached: set[str]
    changed: Mapping[str, Source]
    outside: Mapping[str, str]
    data: Mapping[str, str]
    renewed: set[Key]
    patch: Patch


def _without(package: ModuleType, leaving: Mapping[str, ModuleType]) -> ModuleType:
    """A twin of `package`, not executed again, that lacks the modules that are leaving.

    The package itself may be in use by a run, which is to go on seeing what it saw.
    """
    twin = ModuleType(package.__name__)
    vars(twin).update(vars(package))
    for name, module in leaving.items():
        parent, _, attribute = name.rpartition(".")
        if parent == package.__name__ and vars(twin).get(attribute) is module:
            delattr(twin, attribute)
    return twin


@contextlib.contextmanager
def _present(modules: Sequence[ModuleType]) -> Iterator[None]:
    """Hamilton finds no functions in a module that is not in sys.modules under its name."""
    displaced = {m.__name__: sys.modules.get(m.__name__) for m in modules}
    for module in modules:
        sys.modules[module.__name__] = module
    try:
        yield
    finally:
        for name, former in displaced.items():
            if former is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = former
