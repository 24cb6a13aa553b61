"""Loading a project's modules all or nothing, under the names that the process knows them by.

`importlib.reload` keeps deleted names and leaves mixed code when it fails half-way. So a reload
here makes *fresh* module objects: the names to be reloaded are taken out of `sys.modules`,
imported again by the ordinary import system (dependencies come first by themselves), and put back
as they were if anything fails. Module objects that are in use by a run are never changed.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from hamdev.core.definitions import Definitions
from hamdev.core.references import Key
from hamdev.core.versions import Codebase
from hamdev.errors import ModuleMissingError
from hamdev.pipeline.finder import ProjectFinder, finder_of, forget_listings
from hamdev.pipeline.folder import ProjectFolder
from hamdev.pipeline.installed import tokens
from hamdev.pipeline.load_reads import LoadReads
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

Entry = str | ModuleType


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
        token_of: a token that tells whether an object has changed; None if that cannot be told.
    """

    def __init__(self, root: Path, pipelines_dir: str = "pipelines") -> None:
        self._folder = ProjectFolder(root, pipelines_dir)
        self._finder = ProjectFinder(self._folder)
        self._reloading = Reloading(self._folder, self._finder)
        self._modules: dict[str, ModuleType] = {}
        self._sources: dict[str, Source] = {}
        self._successors: dict[int, ModuleType] = {}
        self._missing: set[str] = set()
        self._definer = Definer()
        self._codebase: Codebase | None = None
        self._states: dict[str, Loaded] = {}
        self._patch: Patch | None = None
        self._anticipated: _Anticipated | None = None
        self._present_versions: dict[str, Mapping[str, str]] = {}
        self._reached_last: set[str] = set()
        self._settled: _Settled | None = None
        self._was_settled = False
        self.generation = 0
        self.whole_because = ""
        self._expected: set[str] = set()
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

    def source_of(self, module: str) -> Source | None:
        """The text that the module of this name was last loaded from, if it is the project's."""
        return self._sources.get(module)

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
            for file in self._missing
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

    def attempted_names(self, name: str) -> list[str]:
        """The module names to try for `name`, in order."""
        return self._folder.attempted_names(name)

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
            self._finder.read, self._missing = {}, set()
            forget_listings(self._folder)
            before = self._step_in()
            generation = self.generation
            try:
                self._adopt(entries)
                if reload == "patch":
                    modules = self._import_patched(entries)
                else:
                    if reload != "none":
                        self._take_out(entries, reload)
                    modules = self._import_entries(entries, reload)
                with _present(modules):
                    yield modules
            except BaseException as error:
                self.generation = generation
                self.load_reads.fail()
                self._undo_patch()
                if isinstance(error, ModuleNotFoundError) and error.name:
                    for name in self._names_missing_with(error.name):
                        self._missing.update(self._folder.candidate_files(name))
                self._step_back(before)
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
        names = [entry.__name__] if isinstance(entry, ModuleType) else self.attempted_names(entry)
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
            modules = self._import_entries(entries, "none")
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
        return self._import_entries(entries, mode)

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
        starts = [e.__name__ if isinstance(e, ModuleType) else self._find_name(e) for e in entries]
        reached, changed = self._reached(starts)
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

    def _reached(self, starts: Sequence[str]) -> tuple[set[str], dict[str, Source]]:
        """The project's modules that `starts` lead to, and those texts that are new among them."""
        changed: dict[str, Source] = {}
        reached: set[str] = set()
        todo = list(starts)
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
            starts = [
                e.__name__ if isinstance(e, ModuleType) else self._find_name(e) for e in entries
            ]
            return self._reached(starts)[1]
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
        reads, data = self.load_reads.reads, self.load_reads.loaded_digests()
        self._codebase = self._codebase.updated({}, reads=reads, data=data)
        for name in self._states.keys() & set(loaded):
            source = self._states[name].source
            self._states[name] = first_load(name, source, self._codebase, self._definer)

    # -- loading as a whole -------------------------------------------------------------------

    def _step_in(self) -> dict[str, ModuleType]:
        """Make sys.modules hold this project's modules; return what it held before."""
        before = dict(sys.modules)
        self._was_settled = self._is_settled()
        if self._was_settled:
            return before
        tops = [name for name, module in before.items() if "." not in name and module is not None]
        shadowing = {name for name in tops if self._is_shadowed(name, before[name])}
        for name, module in before.items():
            if module is None:
                continue
            if name.partition(".")[0] in shadowing or self._is_others(module):
                del sys.modules[name]
        sys.modules.update(self._modules)
        if sys.modules == before:
            doubtful = {n for n in tops if self._may_be_shadowed(n, before[n])}
            self._settled = _Settled(before, doubtful)
        return before

    def _is_settled(self) -> bool:
        """Whether sys.modules is as it was when looking at all of it led to nothing."""
        settled = self._settled
        if settled is None or sys.modules != settled.modules:
            self._settled = None
            return False
        return not any(self._is_shadowed(n, settled.modules[n]) for n in settled.doubtful)

    def _step_back(self, before: Mapping[str, ModuleType]) -> None:
        for name, module in list(sys.modules.items()):
            if module is not None and finder_of(module) is not None and name not in before:
                del sys.modules[name]
        sys.modules.update(before)

    def _commit(
        self,
        before: Mapping[str, ModuleType],
        modules: Sequence[ModuleType],
        entries: Sequence[Entry],
    ) -> None:
        if not self._was_settled or sys.modules != before:
            self._modules = self._present_modules()
        if self._patch is None:
            # A patch has read all that these entries reach. What else is loaded may have changed or
            # gone since, and says nothing of these entries.
            self._note_read(self._modules)
        known = {**self._sources, **self._finder.read}
        self._sources = {name: known[name] for name in self._modules if name in known}
        self._reloading.forget_absent()
        by_name = {module.__name__: module for module in modules}
        for entry in entries:
            if isinstance(entry, ModuleType) and by_name.get(entry.__name__, entry) is not entry:
                self._successors[id(entry)] = entry
        for name, module in before.items():
            # What a reload of ours left out is gone; what belongs to others comes back.
            if name not in sys.modules and (
                module is None or finder_of(module) is not self._finder
            ):
                sys.modules[name] = module

    def _present_modules(self) -> dict[str, ModuleType]:
        return {
            name: module
            for name, module in list(sys.modules.items())
            if module is not None and finder_of(module) is self._finder
        }

    def _note_read(self, modules: Mapping[str, ModuleType]) -> None:
        for name, module in modules.items():
            source = getattr(module.__loader__, "source", None)
            if isinstance(source, Source):
                self._finder.read.setdefault(name, source)

    def _is_others(self, module: ModuleType) -> bool:
        return finder_of(module) not in (None, self._finder)

    def _is_shadowed(self, name: str, present: ModuleType) -> bool:
        """Whether `present` stands, under this name, where this project's own module would be."""
        if (finder := finder_of(present)) is not None:
            return finder is not self._finder
        if not self._may_be_shadowed(name, present) or (ours := self._folder.path_of(name)) is None:
            return False
        theirs: str | None = getattr(present, "__file__", None)
        if theirs is None:
            return hasattr(present, "__path__") and not self._folder.holds_any(present.__path__)
        return os.path.realpath(theirs) != os.path.realpath(ours)

    def _may_be_shadowed(self, name: str, present: ModuleType) -> bool:
        """Whether a file that appears in the project's folder would take the place of `present`."""
        if name in sys.stdlib_module_names or finder_of(present) is not None:
            return False
        theirs: str | None = getattr(present, "__file__", None)
        return theirs is None or not theirs.startswith(
            (sys.prefix + os.sep, sys.base_prefix + os.sep)
        )

    def _names_missing_with(self, missing: str) -> set[str]:
        """`missing` and what is imported from below it: its folder alone may make it a package."""
        read = list(self._finder.read.items())
        names = {name for item in read for name in self._reloading.scan(*item).names}
        return {missing, *(name for name in names if name.startswith(missing + "."))}

    # -- entries → modules --------------------------------------------------------------------

    def _adopt(self, entries: Sequence[Entry]) -> None:
        """Load entries from source even if they lie outside the project's folder."""
        for entry in entries:
            name = entry.__name__ if isinstance(entry, ModuleType) else self._find_name(entry)
            self._finder.adopted.add(name)

    def _take_out(self, entries: Sequence[Entry], reload: ReloadMode) -> None:
        starts = {e.__name__ if isinstance(e, ModuleType) else self._find_name(e) for e in entries}
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

    def _import_entries(self, entries: Sequence[Entry], reload: ReloadMode) -> list[ModuleType]:
        modules: dict[str, ModuleType] = {}
        for entry in entries:
            if isinstance(entry, ModuleType):
                module = self._current(entry, reload)
            else:
                module = self._import(self._find_name(entry), entry)
            # Dropping the earlier one of two keeps the order in which Hamilton lets nodes win.
            modules.pop(module.__name__, None)
            modules[module.__name__] = module
        return list(modules.values())

    def _current(self, entry: ModuleType, reload: ReloadMode) -> ModuleType:
        """The object itself, or what a reload made of it."""
        name = entry.__name__
        file = getattr(entry, "__file__", None)
        if reload != "none" and file is not None and file.endswith(".py"):
            spec = self._finder.find_present(name)
            if spec is not None and os.path.realpath(spec.origin or "") == os.path.realpath(file):
                return self._import(name, name)
            return self._execute_file(name, file)
        if id(entry) in self._successors:
            return self._modules.get(name, entry)
        return entry

    def _execute_file(self, name: str, file: str) -> ModuleType:
        """Load a module that no import by its name would find, such as one loaded by its path."""
        loader = SourceLoader(name, file, self._finder.record)
        spec = importlib.util.spec_from_file_location(name, file, loader=loader)
        assert spec is not None  # it is None only for files whose loader is to be guessed
        spec.loader_state = self._finder
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        with _named(name, file):
            loader.exec_module(module)
        return module

    def _import(self, name: str, wanted: str) -> ModuleType:
        with _named(name, wanted):
            return importlib.import_module(name)

    def _find_name(self, wanted: str) -> str:
        attempted = self.attempted_names(wanted)
        for candidate in attempted:
            with _named(candidate, wanted):
                if self._find(candidate):
                    return candidate
        files = [f for name in attempted for f in self._folder.candidate_files(name)]
        candidates = [file for file in files if "-" not in Path(file).name]
        self._missing.update(candidates)
        raise ModuleMissingError(wanted, attempted, candidates)

    def _find(self, name: str) -> bool:
        if not all(name.split(".")) or "/" in name or name.endswith(".py"):
            return False
        if sys.modules.get(name) is not None:
            return True
        parent = name.rpartition(".")[0]
        try:
            if parent and not self._find(parent):
                return False
            spec: ModuleSpec | None = importlib.util.find_spec(name)
            return spec is not None
        except ModuleNotFoundError as error:
            # Only "the parent is not there" is an answer; an error inside a parent is the user's.
            if error.name and (name == error.name or name.startswith(error.name + ".")):
                return False
            raise


@dataclass(frozen=True)
class _Settled:
    """A sys.modules that needed no change to hold this project's modules, and no others'.

    Attributes:
        modules: a copy.
        doubtful: top-level modules whose place a file in the project's folder could take.
    """

    modules: dict[str, ModuleType]
    doubtful: set[str]


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


@contextlib.contextmanager
def _named(name: str, wanted: str) -> Iterator[None]:
    """Let whatever is raised say which pipeline module it came from."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"hamdev: raised while importing pipeline module {name!r} ({wanted!r})")
        raise


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
