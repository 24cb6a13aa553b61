"""Random projects of several modules, random edits of them, and what each node's meaning is.

A project is a set of *items* (constants, helpers, classes, nodes …), each with what it refers to.
Since the text is written from these, it is known without looking at any text what a node's value
depends on: that is the bound on what may run after an edit.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

# From those that are imported to those that import; all but the last two hold no nodes.
MODULES = ("base", "lib.low", "lib.high", "pipelines.more", "pipelines.main")
NODE_MODULES = ("pipelines.more", "pipelines.main")
_STYLES = ("from", "from as", "module", "alias", "package", "inside")
_HELPERS = ("constant", "dict", "derived", "function", "default", "cached", "closure", "class")
_MORE_HELPERS = ("subclass", "enum", "dataclass", "method user", "partial", "loaded", "reader")
_WITH_DATA = ("file", "loaded", "reader")
_NODES = ("plain", "plain", "plain", "small", "when", "parameterize", "fields", "file", "input")
_MORE_NODES = ("config", "inject", "pipe", "does", "record", "mutable", "tagged", "check")
_EAGER = (
    "derived",
    "default",
    "subclass",
    "method user",
    "partial",
    "inject",
    "pipe",
    "does",
    "record",
)


@dataclass
class Item:
    """One definition.

    Attributes:
        uses: the helpers that its text refers to.
        takes: node names that are its inputs; nodes only.
        number: what is written in it.
        pad: comments, blank lines and docstrings in it, which mean nothing.
    """

    uid: int
    kind: str
    name: str
    module: str
    uses: list[Item] = field(default_factory=list)
    takes: list[str] = field(default_factory=list)
    number: int = 0
    pad: int = 0

    def __hash__(self) -> int:
        return self.uid

    @property
    def is_node(self) -> bool:
        return self.module in NODE_MODULES and self.kind in _NODES + _MORE_NODES

    def nodes(self) -> list[str]:
        """The names that other nodes may take."""
        match self.kind:
            case "parameterize":
                return [f"{self.name}_1", f"{self.name}_2"]
            case "fields":
                return [f"{self.name}_x", f"{self.name}_y"]
        return [self.name]

    def owns(self, node: str) -> bool:
        """Whether a node is made from this one's function."""
        return f"{node.replace('.', '_')}_".startswith(f"{self.name}_")


class EditedProject:
    """A project on disk that is edited at random.

    Attributes:
        inputs, config: as in `devserver.toml`.
        said: what the latest edit did, for people.
    """

    def __init__(self, root: Path, random: Random) -> None:
        self.root = root
        self.random = random
        self.items: list[Item] = []
        self.styles: dict[tuple[str, str], str] = {}
        self.broken: dict[str, str] = {}
        self.data: dict[int, int] = {}
        self.inputs = {"given": 3}
        self.config: dict[str, object] = {"mode": "a", "level": 2}
        self.said: list[str] = []
        self.order = 0
        self._number = 0
        self._written: dict[Path, str] = {}
        for _ in range(random.randint(3, 8)):
            self._add_helper()
        for _ in range(random.randint(3, 9)):
            self._add_node()
        self.write()

    # -- making items -------------------------------------------------------------------------

    def _new(self, kind: str, module: str) -> Item:
        self._number += 1
        name = f"{_mark(kind)}{kind[0]}{self._number}"
        item = Item(self._number, kind, name, module, number=self.random.randint(1, 9))
        self.items.append(item)
        return item

    def _add_helper(self, kind: str | None = None, module: str | None = None) -> Item:
        random = self.random
        kind = kind or random.choice(_HELPERS + _MORE_HELPERS)
        rank = MODULES.index(module) if module else len(MODULES) - 1
        module = random.choice(MODULES[: rank + 1])
        below = [i for i in self._helpers(module) if i.kind != "doer"]
        uses = []
        if kind in ("derived", "default", "subclass", "method user"):
            wanted = {"derived": "constant", "default": "constant"}.get(kind, "class")
            uses = [self._some(wanted, module)]
        elif kind == "partial":
            uses = [self._some("function", module)]
        elif kind in ("function", "cached", "reader", "closure", "class") and below:
            uses = random.sample(below, min(len(below), random.randint(0, 2)))
        item = self._new(kind, module)
        item.uses = uses
        if kind in _WITH_DATA:
            self.data[item.uid] = random.randint(1, 9)
        return item

    def _some(self, kind: str, module: str) -> Item:
        """A helper of this kind that `module` can import."""
        found = [i for i in self._helpers(module) if i.kind == kind]
        return self.random.choice(found) if found else self._add_helper(kind, module)

    def _helpers(self, module: str) -> list[Item]:
        rank = MODULES.index(module)
        return [i for i in self.items if not i.is_node and MODULES.index(i.module) <= rank]

    def _add_node(self) -> Item:
        random = self.random
        kind = random.choice(_NODES + _MORE_NODES)
        module = random.choice(NODE_MODULES)
        taken = [n for i in self.items if i.is_node for n in i.nodes()]
        helpers = [i for i in self._helpers(module) if i.kind != "doer"]
        item = self._new(kind, module)
        item.takes = random.sample(taken, min(len(taken), random.randint(0, 3)))
        item.uses = random.sample(helpers, min(len(helpers), random.randint(0, 2)))
        match kind:
            case "inject":
                item.uses.append(self._some("constant", module))
            case "pipe":
                item.uses.append(self._some("function", module))
                item.takes = item.takes or taken[:1]
                if not item.takes:
                    item.kind = "plain"
            case "does":
                item.uses.append(self._some("doer", module))
                item.takes = item.takes or taken[:1]
                if not item.takes:
                    item.kind = "plain"
            case "record":
                item.uses.append(self._some("dataclass", module))
            case "file":
                self.data[item.uid] = random.randint(1, 9)
        return item

    # -- writing ------------------------------------------------------------------------------

    def write(self) -> None:
        """Bring the disk up to date; files that say the same stay as they are."""
        files: dict[Path, str] = {}
        for module in MODULES:
            if any(i.module == module for i in self.items) or module in NODE_MODULES:
                files[self._file(module)] = self._text(module) + self.broken.get(module, "")
        if any("lib" in str(file.parent.name) for file in files):
            files[self.root / "lib" / "__init__.py"] = ""
        for uid, number in self.data.items():
            files[self.root / "data" / f"{uid}.txt"] = str(number)
        for file in self._written.keys() - files.keys():
            file.unlink()
        for file, text in files.items():
            if self._written.get(file) != text:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
        self._written = files

    def _file(self, module: str) -> Path:
        return self.root / (module.replace(".", "/") + ".py")

    def _text(self, module: str) -> str:
        items = [i for i in self.items if i.module == module]
        lines = [*self._imports(module, items), ""]
        for item in _ordered(items, self.order):
            lines += ["# note"] * (item.pad % 3) + [self._definition(item), ""]
        return "\n".join(lines) + "\n"

    def _imports(self, module: str, items: Iterable[Item]) -> list[str]:
        lines = {
            "from dataclasses import dataclass",
            "from enum import Enum",
            "from functools import lru_cache, partial",
            "from pathlib import Path",
        }
        if module in NODE_MODULES:
            lines.add("from hamilton import function_modifiers as fm")
        eager = {u for item in items if item.kind in _EAGER for u in item.uses}
        for used in {u for item in items for u in item.uses if u.module != module}:
            owner = used.module
            style = self._style(module, used)
            match "from" if style == "inside" and used in eager else style:
                case "from":
                    lines.add(f"from {owner} import {used.name}")
                case "from as":
                    lines.add(f"from {owner} import {used.name} as own_{used.name}")
                case "module":
                    lines.add(f"import {owner}")
                case "alias":
                    lines.add(f"import {owner} as q_{owner.replace('.', '_')}")
                case "package":
                    parent, _, name = owner.rpartition(".")
                    lines.add(f"from {parent} import {name}")
        return sorted(lines)

    def _style(self, module: str, used: Item) -> str:
        style = self.styles.get((module, used.module), "from")
        return "from" if style == "package" and "." not in used.module else style

    def _name(self, used: Item, module: str) -> str:
        if used.module == module:
            return used.name
        owner = used.module
        match self._style(module, used):
            case "from as":
                return f"own_{used.name}"
            case "module":
                return f"{owner}.{used.name}"
            case "alias":
                return f"q_{owner.replace('.', '_')}.{used.name}"
            case "package":
                return f"{owner.rpartition('.')[2]}.{used.name}"
        return used.name

    def _inside(self, item: Item) -> str:
        """Imports that stand in the function itself."""
        return "".join(
            f"    from {used.module} import {used.name}\n"
            for used in item.uses
            if used.module != item.module and self._style(item.module, used) == "inside"
        )

    def _definition(self, item: Item) -> str:
        name, n = item.name, item.number
        used = [self._name(u, item.module) for u in item.uses]
        total = " + ".join(
            [str(n)] + [_expression(u, s) for u, s in zip(item.uses, used, strict=True)]
        )
        doc = f'    """About {item.pad}."""\n' if item.pad % 2 else ""
        inside = self._inside(item)
        match item.kind:
            case "constant":
                return f"{name} = {n}"
            case "dict":
                return f"{name} = {{'k': {n}, 'l': [{n}, 2]}}"
            case "derived":
                return f"{name} = {used[0]} * {n}"
            case "function":
                return f"def {name}(x: int) -> int:\n{doc}{inside}    return x + {total}"
            case "default":
                return (
                    f"def {name}(x: int, k: int = {used[0]}) -> int:\n{doc}    return x + k + {n}"
                )
            case "cached":
                return f"@lru_cache\ndef {name}(x):\n{doc}{inside}    return x + {total}"
            case "loaded":
                return f"{name} = {n} + int(Path('data/{item.uid}.txt').read_text())"
            case "reader":
                return (
                    f"@lru_cache\ndef {name}(x):\n{doc}{inside}"
                    f"    return x + {total} + int(Path('data', str({item.uid}) + '.txt').read_text())"
                )
            case "closure":
                return (
                    f"def {name}(x):\n{doc}{inside}    def inner(y):\n"
                    f"        return y + {total}\n    return max(inner(i) for i in (x, 1))"
                )
            case "class":
                return (
                    f"class {name}:\n{doc}    V = {n}\n    def m(self, x):\n"
                    f"{textwrap.indent(inside, '    ')}        return x + self.V + {total}"
                )
            case "subclass":
                return (
                    f"class {name}({used[0]}):\n{doc}"
                    f"    def m(self, x):\n        return super().m(x) + {n}"
                )
            case "method user":
                return f"{name} = {used[0]}().m({n})"
            case "enum":
                return f"class {name}(Enum):\n{doc}    A = {n}\n    B = 2"
            case "dataclass":
                return f"@dataclass\nclass {name}:\n{doc}    v: int\n    w: int = {n}"
            case "partial":
                return f"{name} = partial({used[0]}, {n})"
            case "doer":
                return (
                    f"def {name}(**given: int) -> int:\n{doc}    return sum(given.values()) + {n}"
                )
        return self._node(item, used, total, doc, inside)

    def _node(self, item: Item, used: list[str], total: str, doc: str, inside: str) -> str:
        name, n = item.name, item.number
        takes = list(item.takes)
        body = " + ".join([f"_v({t})" for t in takes] + [total])
        arguments = ", ".join(f"{t}: object" for t in takes)
        more = ", " if arguments else ""
        start = "\n\n" * (item.pad % 2)
        value = (
            "def _v(x):\n    return getattr(x, 'v', x) if not isinstance(x, (dict, list)) else 1\n"
        )
        inside = textwrap.indent(value, "    ") + inside

        def function(result: str, decorator: str = "", extra: str = "", suffix: str = "") -> str:
            given = arguments + (more if extra else "") + extra
            return f"{decorator}def {name}{suffix}({given}) -> {result}:\n{doc}{inside}"

        match item.kind:
            case "small":
                return start + function("int") + f"    return ({body}) % 2"
            case "when":
                return (
                    function("int", '@fm.config.when(mode="a")\n', suffix="__a")
                    + f"    return {body}\n\n"
                    + function("int", '@fm.config.when(mode="b")\n', suffix="__b")
                    + f"    return ({body}) * 2"
                )
            case "parameterize":
                decorator = (
                    f"@fm.parameterize({name}_1={{'k': fm.value({n})}}, "
                    f"{name}_2={{'k': fm.value({n + 1})}})\n"
                )
                return function("int", decorator, "k: int") + f"    return {body} + k"
            case "fields":
                decorator = f"@fm.extract_fields({{'{name}_x': int, '{name}_y': int}})\n"
                return (
                    function("dict", decorator)
                    + f"    return {{'{name}_x': {body}, '{name}_y': {n}}}"
                )
            case "file":
                return (
                    function("int")
                    + f"    with open('data/{item.uid}.txt') as file:\n"
                    + f"        return int(file.read()) + {body}"
                )
            case "input":
                return function("int", extra="given: int") + f"    return {body} + given"
            case "config":
                return function("int", extra="level: int") + f"    return {body} + level"
            case "inject":
                return (
                    f"@fm.inject(k=fm.value({used[-1]}))\n"
                    + function("int", extra="k: int")
                    + f"    return {body} + k"
                )
            case "pipe":
                first = takes[0]
                return (
                    f"@fm.pipe_input(fm.step({used[-1]}).named('s', namespace='{name}'))\n"
                    + function("int").replace(f"{first}: object", f"{first}: int")
                    + f"    return {body}"
                )
            case "does":
                given = ", ".join(f"{t}: int" for t in takes)
                return f"@fm.does({used[-1]})\ndef {name}({given}) -> int:\n    pass"
            case "record":
                record = used[-1]
                return (
                    function(record if "." not in record else "object")
                    + f"    made = {record}({body})\n"
                    + f"    assert type(made) is {record}\n    return made"
                )
            case "mutable":
                return function("dict") + f"    return {{'v': {body}, 'n': [{n}]}}"
            case "tagged":
                return function("int", f"@fm.tag(owner='o{n}')\n") + f"    return {body}"
            case "check":
                decorator = f"@fm.check_output(range=(-{n}, 10**9), importance='warn')\n"
                return function("int", decorator) + f"    return {body}"
        return start + function("int") + f"    return {body}"

    # -- meaning ------------------------------------------------------------------------------

    def meaning(self, node: str) -> object:
        """All that a node's own value depends on, except the values of its inputs."""
        item = self._owner(node)
        known: list[object] = [self._item_meaning(item)]
        if item.kind == "when":
            known.append(self.config["mode"])
        if item.kind == "input":
            known.append(self.inputs["given"])
        if item.kind == "config":
            known.append(self.config["level"])
        return known

    def taken(self, node: str) -> list[str]:
        return self._owner(node).takes

    def _owner(self, node: str) -> Item:
        for item in self.items:
            if item.is_node and item.owns(node):
                return item
        raise AssertionError(f"nothing here makes a node {node!r}")

    def _item_meaning(self, item: Item) -> object:
        pad, item.pad = item.pad, 0
        text = item.module, self._definition(item), self.data.get(item.uid)
        item.pad = pad
        return text, *(self._item_meaning(used) for used in item.uses)

    # -- edits --------------------------------------------------------------------------------

    def edit(self) -> None:
        """One random edit, written to disk."""
        random = self.random
        if self.broken and random.random() < 0.7:
            self.broken = {}
            self.said.append("repair")
        else:
            edits = [
                self._change_number, self._change_number, self._change_number, self._pad,
                self._rename, self._move, self._add, self._delete, self._restyle, self._reference,
                self._change_data, self._change_value, self._break, self._reorder, self._rekind,
            ]  # fmt: skip
            while not (said := random.choice(edits)()):
                pass
            self.said.append(said)
        self.write()

    def _change_number(self) -> str:
        item = self.random.choice(self.items)
        before, item.number = item.number, self.random.randint(1, 9)
        return f"number in {item.kind} {item.name} {before} → {item.number}"

    def _pad(self) -> str:
        item = self.random.choice(self.items)
        item.pad += 1
        return f"comment or docstring of {item.kind} {item.name}"

    def _rename(self) -> str:
        item = self.random.choice(self.items)
        before, names = item.name, item.nodes()
        self._number += 1
        item.name = f"{_mark(item.kind)}{item.kind[0]}r{self._number}"
        if item.is_node:
            renamed = dict(zip(names, item.nodes(), strict=True))
            for other in self.items:
                other.takes = [renamed.get(t, t) for t in other.takes]
        return f"rename {item.kind} {before} → {item.name}"

    def _move(self) -> str:
        item = self.random.choice(self.items)
        low = max((MODULES.index(u.module) for u in item.uses), default=0)
        high = min(
            (MODULES.index(i.module) for i in self.items if item in i.uses),
            default=len(MODULES) - 1,
        )
        targets = [m for m in MODULES[low : high + 1] if m != item.module]
        if item.is_node:
            targets = [m for m in targets if m in NODE_MODULES]
        if not targets:
            return ""
        before, item.module = item.module, self.random.choice(targets)
        return f"move {item.kind} {item.name} from {before} to {item.module}"

    def _add(self) -> str:
        item = self._add_helper() if self.random.random() < 0.4 else self._add_node()
        if not item.is_node:
            users = [
                i
                for i in self.items
                if i.is_node and i.kind == "plain" and item in self._helpers(i.module)
            ]
            if users:
                self.random.choice(users).uses.append(item)
        return f"add {item.kind} {item.name} in {item.module}"

    def _delete(self) -> str:
        used = {u for i in self.items for u in i.uses}
        taken = {t for i in self.items for t in i.takes}
        free = [i for i in self.items if i not in used and not taken & {*i.nodes()}]
        if len([i for i in free if i.is_node]) < 2:
            free = [i for i in free if not i.is_node]
        if not free:
            return ""
        item = self.random.choice(free)
        self.items.remove(item)
        self.data.pop(item.uid, None)
        return f"delete {item.kind} {item.name}"

    def _restyle(self) -> str:
        pairs = {(i.module, u.module) for i in self.items for u in i.uses if u.module != i.module}
        if not pairs:
            return ""
        pair = self.random.choice(sorted(pairs))
        self.styles[pair] = self.random.choice(_STYLES)
        return f"{pair[0]} imports {pair[1]} by {self.styles[pair]!r}"

    def _reference(self) -> str:
        users = [i for i in self.items if i.kind in ("plain", "function", "closure", "small")]
        if not users:
            return ""
        item = self.random.choice(users)
        if item.uses and self.random.random() < 0.5:
            gone = item.uses.pop()
            return f"{item.name} no longer uses {gone.name}"
        found = [i for i in self._helpers(item.module) if item not in _all_uses(i)]
        found = [i for i in found if i.kind != "doer" and i is not item]
        if not found:
            return ""
        item.uses.append(self.random.choice(found))
        return f"{item.name} uses {item.uses[-1].name}"

    def _change_data(self) -> str:
        if not self.data:
            return ""
        uid = self.random.choice(sorted(self.data))
        self.data[uid] = self.random.randint(1, 9)
        return f"data {uid}"

    def _change_value(self) -> str:
        match self.random.randrange(3):
            case 0:
                self.inputs = {"given": self.random.randint(1, 5)}
            case 1:
                self.config = {**self.config, "mode": self.random.choice("ab")}
            case 2:
                self.config = {**self.config, "level": self.random.randint(1, 3)}
        return f"{self.inputs} {self.config}"

    def _break(self) -> str:
        written = [m for m in MODULES if self._file(m) in self._written]
        module = self.random.choice(written)
        text = self.random.choice(
            ["def broken(:\n", "raise ValueError('broken')\n", "import no_such_module\n",
             "from base import no_such_name\n", "x = = 1\n"]
        )  # fmt: skip
        self.broken = {module: text}
        return f"break {module}: {text.strip()}"

    def _reorder(self) -> str:
        self.order = self.random.randint(0, 1000)
        return "order of definitions"

    def _rekind(self) -> str:
        plain = ("plain", "small", "mutable", "tagged", "check", "when")
        items = [i for i in self.items if i.is_node and i.kind in plain]
        if not items:
            return ""
        item = self.random.choice(items)
        before, item.kind = item.kind, self.random.choice(plain)
        return f"{item.name}: {before} → {item.kind}"


def _mark(kind: str) -> str:
    """Hamilton makes a node of every function whose name begins with no underscore."""
    return "" if kind in _NODES + _MORE_NODES else "_"


def _all_uses(item: Item) -> Iterator[Item]:
    for used in item.uses:
        yield used
        yield from _all_uses(used)


def _expression(used: Item, name: str) -> str:
    match used.kind:
        case "dict":
            return f"{name}['k']"
        case "function" | "default" | "cached" | "closure" | "reader":
            return f"{name}(2)"
        case "class" | "subclass":
            return f"{name}().m(1)"
        case "enum":
            return f"{name}.A.value"
        case "dataclass":
            return f"{name}(1).w"
        case "partial":
            return f"{name}()"
        case "doer":
            return f"{name}(x=1)"
    return name


def _ordered(items: list[Item], seed: int) -> list[Item]:
    """Each after what it needs as it is executed; beyond that in an order that `seed` tells."""
    random = Random(seed)
    left = list(items)
    random.shuffle(left)
    done: list[Item] = []
    while left:
        for item in left:
            if not any(u in left for u in item.uses):
                done.append(item)
                left.remove(item)
                break
        else:
            raise AssertionError("definitions that need each other")
    return done
