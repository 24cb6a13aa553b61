"""Every Hamilton decorator: what an edit of its arguments, of what they name, and of the function
makes run, and that the values are then a new process's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hamilton import function_modifiers
from worker_process import WorkerProcess

if TYPE_CHECKING:
    from tests.conftest import ProjectOnDisk


class Edit(NamedTuple):
    before: str
    after: str
    ran: set[str]
    config: dict[str, Any] = {}  # noqa: RUF012  # never changed


class Case(NamedTuple):
    name: str
    text: str
    edits: list[Edit]
    config: dict[str, Any] = {}  # noqa: RUF012  # never changed
    volatile: frozenset[str] = frozenset()  # nodes whose values hold the time


def E(before: str, after: str, ran: str) -> Edit:  # a table is read, not called
    return Edit(before, after, set(ran.split()))


def C(ran: str, **config: Any) -> Edit:
    """Nothing is edited; some of the config has other values."""
    return Edit("", "", set(ran.split()), config)


HEAD = """import pandas as pd
from hamilton.function_modifiers import *
from hamilton.function_modifiers import source, value, step
def other() -> int:
    return 0
"""
SETUP = (
    "K = 1\nPARAMETERS = {'p1': {'x': 1}, 'p2': {'x': 2}}\n"
    "def helper(x: int, k: int = 1) -> int:\n    return x + k + K\n"
)

# In Hamilton 1.90 these two ask for their part of the config by a name that nobody calls.
FIXED = """class _{0}({0}):
    def required_config(self):
        return [self.config_param]
"""

CASES = [
    Case(
        "parameterize",
        """from setup import K
@parameterize(a={'x': value(1)}, b={'x': value(K)})
def made(x: int, root: int) -> int:
    return x + root
def root() -> int:
    return 1
def below(a: int, b: int) -> int:
    return a + b
""",
        [
            E("value(1)", "value(3)", "a b below"),
            E("K = 1", "K = 2", "a b below"),
            E("return x + root", "return x - root", "a b below"),
            E("return a + b", "return a - b", "below"),
        ],
    ),
    Case(
        "parameterize over a constant",
        """from setup import PARAMETERS
@parameterize(**{n: {'x': value(p['x'])} for n, p in PARAMETERS.items()})
def made(x: int) -> int:
    return x
def below(p1: int) -> int:
    return p1
""",
        [E("{'x': 2}", "{'x': 3}", "p1 p2"), E("{'x': 1}", "{'x': 3}", "p1 p2 below")],
    ),
    Case(
        "parameterize_sources",
        """@parameterize_sources(a={'x': 'r1'}, b={'x': 'r2'})
def made(x: int) -> int:
    return x
def r1() -> int:
    return 1
def r2() -> int:
    return 2
""",
        [
            E("return 2", "return 5", "r2 b"),
            E("'x': 'r2'", "'x': 'r1'", "a b"),
            E("return x", "return x * 2", "a b"),
        ],
    ),
    Case(
        "parameterize_values",
        """@parameterize_values('x', {('a', 'first'): 1, ('b', 'second'): 2})
def made(x: int) -> int:
    return x
""",
        [E("'second'): 2", "'second'): 3", "a b"), E("return x", "return x * 2", "a b")],
    ),
    Case(
        "parameterize_extract_columns",
        """from setup import K
@parameterize_extract_columns(
    ParameterizedExtract(('a', 'b'), {'x': value(K)}),
    ParameterizedExtract(('c', 'd'), {'x': value(2)}),
)
def made(x: int) -> pd.DataFrame:
    return pd.DataFrame([[x, x + 1]])
""",
        [
            E("value(2)", "value(3)", "a b c d made__0 made__1"),
            E("K = 1", "K = 5", "a b c d made__0 made__1"),
            E("x + 1", "x + 2", "a b c d made__0 made__1"),
        ],
    ),
    Case(
        "extract_columns",
        """@extract_columns('a', 'b')
def frame() -> pd.DataFrame:
    return pd.DataFrame({'a': [1], 'b': [2], 'c': [3]})
def below(a: pd.Series) -> pd.Series:
    return a + 1
""",
        [
            E("'a', 'b')", "'a', 'b', 'c')", "frame a b c"),
            E("'b': [2]", "'b': [5]", "frame a b c"),
            E("'a': [1]", "'a': [5]", "frame a b c below"),
        ],
    ),
    Case(
        "extract_fields",
        """@extract_fields({'a': int, 'b': int})
def fields() -> dict:
    return {'a': 1, 'b': 2, 'c': 3}
def below(a: int) -> int:
    return a + 1
""",
        [
            E("'b': int}", "'b': int, 'c': int}", "fields a b c"),
            E("'b': 2", "'b': 5", "fields a b c"),
            E("'a': 1", "'a': 5", "fields a b c below"),
        ],
    ),
    Case(
        "unpack_fields",
        """@unpack_fields('a', 'b')
def fields() -> tuple[int, int]:
    return 1, 2
def below(a: int) -> int:
    return a + 1
""",
        [
            E("return 1, 2", "return 1, 5", "fields a b"),
            E("'a', 'b')", "'b', 'a')", "fields a b below"),
        ],
    ),
    Case(
        "config.when",
        """@config.when(mode='a')
def made__a() -> int:
    return 1
@config.when(mode='b')
def made__b() -> int:
    return 2
def below(made: int) -> int:
    return made
""",
        [
            E("return 1", "return 3", "made below"),
            E("return 2", "return 4", ""),
            E("mode='b'", "mode='c'", ""),
        ],
        {"mode": "a"},
    ),
    Case(
        "config.when_not",
        """@config.when_not(mode='a')
def made__a() -> int:
    return 1
@config.when(mode='a')
def made__b() -> int:
    return 2
""",
        [E("return 1", "return 3", ""), E("return 2", "return 4", "made")],
        {"mode": "a"},
    ),
    Case(
        "config.when_in",
        """@config.when_in(mode=['a', 'c'])
def made__a() -> int:
    return 1
@config.when_not_in(mode=['a', 'c'])
def made__b() -> int:
    return 2
""",
        [E("return 1", "return 3", "made"), E("return 2", "return 4", "")],
        {"mode": "a"},
    ),
    Case(
        "does",
        """from setup import K
def _sum(**given: int) -> int:
    return sum(given.values()) + K
@does(_sum)
def made(r1: int, r2: int) -> int:
    pass
def r1() -> int:
    return 1
def r2() -> int:
    return 2
""",
        [
            E("values()) + K", "values()) - K", "made"),
            E("K = 1", "K = 2", "made"),
            E("return 2", "return 5", "r2 made"),
        ],
    ),
    Case(
        "inject",
        """from setup import K
@inject(x=value(K), y=group(source('r1'), source('r2')))
def made(x: int, y: list[int]) -> int:
    return x + sum(y)
def r1() -> int:
    return 1
def r2() -> int:
    return 2
""",
        [
            E("K = 1", "K = 2", "made"),
            E("return 2", "return 5", "r2 made"),
            E(", source('r2'))", ")", "made"),
        ],
    ),
    Case(
        "tag",
        """@tag(owner='me')
def made() -> int:
    return 1
def below(made: int) -> int:
    return made
""",
        [E("owner='me'", "owner='you'", "made"), E("return 1", "return 2", "made below")],
    ),
    Case(
        "tag_outputs",
        """@tag_outputs(a={'owner': 'me'})
@extract_fields({'a': int, 'b': int})
def made() -> dict:
    return {'a': 1, 'b': 2}
""",
        [E("'owner': 'me'", "'owner': 'you'", "made a b")],
    ),
    Case(
        "schema",
        """@schema.output(('a', 'int'), ('b', 'int'))
def made() -> pd.DataFrame:
    return pd.DataFrame({'a': [1], 'b': [2]})
""",
        [E("('b', 'int')", "('b', 'float')", "made"), E("[2]", "[3]", "made")],
    ),
    Case(
        "check_output",
        """from setup import K
@check_output(range=(0, K + 5), importance='fail')
def made() -> int:
    return 1
def below(made: int) -> int:
    return made
""",
        [
            E("K + 5", "K + 6", "made made_raw made_range_validator"),
            E("K = 1", "K = 2", "made made_raw made_range_validator"),
            E("return 1", "return 2", "made made_raw made_range_validator below"),
        ],
    ),
    Case(
        "check_output_custom",
        """from hamilton.data_quality.base import DataValidator, ValidationResult
class _Positive(DataValidator):
    LIMIT = 0
    def __init__(self):
        super().__init__(importance='warn')
    def applies_to(self, datatype):
        return True
    def description(self):
        return 'positive'
    @classmethod
    def name(cls):
        return 'positive'
    def validate(self, dataset):
        return ValidationResult(dataset > self.LIMIT, f'more than {self.LIMIT}')
@check_output_custom(_Positive())
def made() -> int:
    return 1
""",
        [E("LIMIT = 0", "LIMIT = 5", "made made_raw made_positive")],
    ),
    Case(
        "pipe_input",
        """from setup import helper
@pipe_input(step(helper, k=2).named('first'), step(helper).named('second'))
def made(root: int) -> int:
    return root * 10
def root() -> int:
    return 1
""",
        [
            E("k=2", "k=3", "made made.first made.second"),
            E("K = 1", "K = 2", "made made.first made.second"),
            E("root * 10", "root * 11", "made made.first made.second"),
        ],
    ),
    Case(
        "pipe_output",
        """from setup import helper
@pipe_output(step(helper, k=2).named('first'), step(helper).named('second'))
def made(root: int) -> int:
    return root * 10
def root() -> int:
    return 1
def below(made: int) -> int:
    return made
""",
        [
            E("k=2", "k=3", "made made.raw made.first made.second below"),
            E("K = 1", "K = 2", "made made.raw made.first made.second below"),
            E("root * 10", "root * 11", "made made.raw made.first made.second below"),
        ],
    ),
    Case(
        "mutate",
        """def made(root: int) -> int:
    return root * 10
def root() -> int:
    return 1
@mutate(made, x=value(3))
def _more(made: int, x: int) -> int:
    return made + x
def below(made: int) -> int:
    return made
""",
        [
            E("value(3)", "value(4)", "made made.raw made.with_more below"),
            E("made + x", "made - x", "made made.raw made.with_more below"),
            E("root * 10", "root * 11", "made made.raw made.with_more below"),
        ],
    ),
    Case(
        "subdag",
        """import part
@subdag(part, inputs={'start': source('root')}, config={'mode': 'a'})
def made(end: int) -> int:
    return end * 2
def root() -> int:
    return 1
""",
        [
            E("start + 1", "start + 2", "made made.start made.mode made.middle made.end"),
            E("end * 2", "end * 3", "made made.start made.mode made.middle made.end"),
            E("'mode': 'a'", "'mode': 'b'", "made made.start made.mode made.middle made.end"),
        ],
    ),
    Case(
        "parameterized_subdag",
        """import part
@parameterized_subdag(
    part,
    config={'mode': 'a'},
    x={'inputs': {'start': value(1)}},
    y={'inputs': {'start': value(2)}},
)
def made(end: int) -> int:
    return end * 2
def below(x: int) -> int:
    return x
""",
        [
            E(
                "value(2)",
                "value(3)",
                "x x.start x.mode x.middle x.end y y.start y.mode y.middle y.end",
            ),
            E(
                "start + 1",
                "start + 2",
                "x x.start x.mode x.middle x.end y y.start y.mode y.middle y.end below",
            ),
        ],
    ),
    Case(
        "resolve",
        """from setup import K
@resolve(when=ResolveAt.CONFIG_AVAILABLE, decorate_with=lambda fields: extract_fields(fields))
def made() -> dict:
    return {'a': 1, 'b': K}
""",
        [E("K = 1", "K = 2", "made a b"), E("'a': 1", "'a': 2", "made a b")],
        {"fields": {"a": int, "b": int}, "hamilton.enable_power_user_mode": True},
    ),
    Case(
        "with_columns",
        """from hamilton.plugins.h_pandas import with_columns
from setup import K
def _c(a: pd.Series) -> pd.Series:
    return a + K
def c(a: pd.Series) -> pd.Series:
    return a + K
def frame() -> pd.DataFrame:
    return pd.DataFrame({'a': [1, 2]})
import columns
@with_columns(columns, columns_to_pass=['a'], select=['d'], namespace='made')
def made(frame: pd.DataFrame) -> pd.DataFrame:
    return frame
def a() -> pd.Series:
    return pd.Series([1])
""",
        [
            E("d = a * 2", "d = a * 3", "made made.a made.d made._append"),
            E("return frame\n", "return frame * 2\n", "made made.a made.d made._append"),
        ],
    ),
    Case(
        "load_from and save_to",
        """@load_from.json(path=source('path'))
def made(data: dict) -> int:
    return data['n']
def path() -> str:
    return 'data/in.json'
@save_to.json(path=value('data/out.json'), output_name_='saved')
def result(made: int) -> dict:
    return {'m': made}
""",
        [
            E("{'m': made}", "{'m': 2, 'n': made}", "result saved"),
        ],
        volatile=frozenset({"saved", "made.load_data.data"}),
    ),
    Case(
        "dataloader and datasaver",
        """import json
from hamilton.function_modifiers import dataloader, datasaver
@dataloader()
def made() -> tuple[dict, dict]:
    with open('data/in.json') as file:
        return json.load(file), {'kind': 'json'}
@datasaver()
def saved(made: dict) -> dict:
    with open('data/out.json', 'w') as file:
        json.dump(made, file)
    return {'kind': 'json'}
""",
        [E("made, file)", "[made], file)", "saved")],
    ),
    Case(
        "cache ignore",
        """from hamilton.function_modifiers import cache
@cache(behavior='ignore')
def made() -> int:
    return 1
def below(made: int) -> int:
    return 3
""",
        [E("return 1", "return 2", "made")],
    ),
    Case(
        "cache default",
        """from hamilton.function_modifiers import cache
@cache(behavior='default')
def made() -> int:
    return 1
def below(made: int) -> int:
    return made
""",
        [E("return 1", "return 2", "made below")],
    ),
    Case(
        "hamilton_exclude",
        """from hamilton.function_modifiers import hamilton_exclude
@hamilton_exclude
def helps(n: int) -> int:
    return n + 1
def made() -> int:
    return helps(1)
""",
        [E("n + 1", "n + 2", "made")],
    ),
    Case(
        "model",
        f"""from hamilton.models import BaseModel
from setup import K
class _Linear(BaseModel):
    def get_dependents(self):
        return self.config_parameters['of']
    def predict(self, **columns):
        return sum(columns.values()) * self.config_parameters['by'] + K
{FIXED.format("model")}@_model(_Linear, 'linear')
def made() -> pd.Series:
    pass
def a() -> pd.Series:
    return pd.Series([1])
def b() -> pd.Series:
    return pd.Series([2])
def below(made: pd.Series) -> pd.Series:
    return made
""",
        [
            E("['by'] + K", "['by'] - K", "made below"),
            E("K = 1", "K = 2", "made below"),
            E("Series([1])", "Series([5])", "a made below"),
            E("Series([2])", "Series([6])", "b"),
            C("made below", linear={"of": ["a"], "by": 3}),
            C("made below", linear={"of": ["a", "b"], "by": 3}),
            E("Series([6])", "Series([7])", "b made below"),
        ],
        {"linear": {"of": ["a"], "by": 2}},
    ),
    Case(
        "dynamic_transform",
        f"""from hamilton.models import DynamicTransformBase
class _Sum(DynamicTransformBase):
    def __init__(self, config_parameters, name, extra):
        super().__init__(config_parameters, name)
        self.extra = extra
    def get_dependents(self):
        return self.config_parameters
    def compute(self, **inputs):
        return sum(inputs.values()) + self.extra
{FIXED.format("dynamic_transform")}@_dynamic_transform(_Sum, 'of', extra=1)
def made() -> pd.Series:
    pass
def a() -> pd.Series:
    return pd.Series([1])
def b() -> pd.Series:
    return pd.Series([2])
""",
        [
            E("extra=1", "extra=2", "made"),
            E("+ self.extra", "- self.extra", "made"),
            E("Series([1])", "Series([5])", "a made"),
            E("Series([2])", "Series([6])", "b"),
            C("made", of=["b"]),
        ],
        {"of": ["a"]},
    ),
    Case(
        "resolve_from_config",
        """from setup import K
@resolve_from_config(decorate_with=lambda of: parameterize_sources(**{f'sum_{n}': {'x': n} for n in of}))
def made(x: int) -> int:
    return x + K
def a() -> int:
    return 1
def b() -> int:
    return 2
""",
        [
            E("K = 1", "K = 2", "sum_a"),
            E("return 1", "return 3", "a sum_a"),
            C("sum_a sum_b", of=["a", "b"]),
            E("f'sum_{n}'", "f'all_{n}'", "all_a all_b"),
        ],
        {"of": ["a"], "hamilton.enable_power_user_mode": True},
    ),
    Case(
        "parametrized",
        """@parametrized('x', {('a', 'first'): 1, ('b', 'second'): 2})
def made(x: int) -> int:
    return x
""",
        [E("'second'): 2", "'second'): 3", "a b"), E("return x", "return x * 2", "a b")],
    ),
    Case(
        "parametrized_input",
        """@parametrized_input('x', {'r1': ('a', 'first'), 'r2': ('b', 'second')})
def made(x: int) -> int:
    return x
def r1() -> int:
    return 1
def r2() -> int:
    return 2
""",
        [E("return 2", "return 5", "r2 b"), E("return x", "return x * 2", "a b")],
    ),
    Case(
        "parameterized_inputs",
        """@parameterized_inputs(a={'x': 'r1'}, b={'x': 'r2'})
def made(x: int) -> int:
    return x
def r1() -> int:
    return 1
def r2() -> int:
    return 2
""",
        [E("return 2", "return 5", "r2 b"), E("'x': 'r2'", "'x': 'r1'", "a b")],
    ),
    Case(
        "configuration",
        """import part
@subdag(part, inputs={'start': source('root')}, config={'mode': configuration('wanted')})
def made(end: int) -> int:
    return end * 2
def root() -> int:
    return 1
def below(made: int) -> int:
    return abs(made)
""",
        [
            C("made made.start made.mode made.middle made.end below", wanted="b"),
            E(
                "return -middle",
                "return -middle - 1",
                "made made.start made.mode made.middle made.end below",
            ),
        ],
        {"wanted": "a"},
    ),
    Case(
        "pipe",
        """from setup import helper
@pipe(step(helper, k=2).named('first').when(mode='a'), step(helper).named('second'))
def made(root: int) -> int:
    return root * 10
def root() -> int:
    return 1
""",
        [
            E("k=2", "k=3", "made made.first made.second"),
            E("K = 1", "K = 2", "made made.first made.second"),
            E("root * 10", "root * 11", "made made.first made.second"),
            C("made made.second", mode="b"),
        ],
        {"mode": "a"},
    ),
    Case(
        "mutate and apply_to",
        """def first() -> int:
    return 10
def second() -> int:
    return 20
@mutate(apply_to(first, x=value(3)).named('more'), apply_to(second, x=source('given')).named('less'))
def _change(made: int, x: int) -> int:
    return made + x
def given() -> int:
    return 1
def below(first: int, second: int) -> int:
    return first + second
""",
        [
            E(
                "value(3)",
                "value(4)",
                "first first.raw first.more second second.raw second.less below",
            ),
            E("return 1\n", "return 2\n", "given second second.less below"),
            E(
                "made + x",
                "made - x",
                "first first.raw first.more second second.raw second.less below",
            ),
        ],
    ),
]

PART = """from hamilton.function_modifiers import config
def middle(start: int) -> int:
    return start + 1
@config.when(mode='a')
def end__a(middle: int) -> int:
    return middle
@config.when(mode='b')
def end__b(middle: int) -> int:
    return -middle
"""
COLUMNS = "import pandas as pd\ndef d(a: pd.Series) -> pd.Series:\n    d = a * 2\n    return d\n"


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_an_edit_runs_what_it_changes_and_nothing_else(
    case: Case, project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    project.write("data/in.json", '{"n": 1}')
    texts = {
        "setup.py": SETUP,
        "part.py": PART,
        "columns.py": COLUMNS,
        "pipelines/main.py": HEAD + case.text,
    }
    worker.config = case.config
    for name, text in texts.items():
        project.write(name, text)
    first = worker.run()
    worker.check(first, case.volatile)
    assert not first.failed
    assert not first.problems
    for edit in case.edits:
        worker.config = {**worker.config, **edit.config}
        name = next(n for n in reversed(texts) if edit.before in texts[n])
        texts[name] = texts[name].replace(edit.before, edit.after)
        project.write(name, texts[name])
        found = worker.run()
        worker.check(found, case.volatile)
        assert set(found.ran) == edit.ran, (edit, {n: found.reasons(n) for n in found.ran})
        assert worker.run().ran == []


def test_what_is_never_to_be_reused_runs_each_time(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    project.write(
        "main",
        """
        from hamilton.function_modifiers import cache, tag
        @cache(behavior="recompute")
        def recomputed() -> int:
            return 1
        @cache(behavior="disable")
        def disabled() -> int:
            return 2
        @tag(**{"hamdev.reuse": "never"})
        def clock() -> int:
            return 3
        def below(recomputed: int, disabled: int, clock: int) -> int:
            return recomputed + disabled + clock
        """,
    )
    worker.check(worker.run())
    found = worker.run()
    worker.check(found)
    assert set(found.ran) == {"recomputed", "disabled", "clock"}
    assert found.recalled == ["below"]
    assert "never reused" in found.reasons("clock")


def test_the_table_has_a_case_for_every_decorator() -> None:
    """What `hamilton.function_modifiers` offers, and the ways to call it that are its methods."""
    offered = {
        name
        for name, found in vars(function_modifiers).items()
        if not name.startswith("_")
        and callable(found)
        and not (isinstance(found, type) and issubclass(found, Exception))
    }
    assert {"tag", "config", "cache", "source", "load_from"} <= offered
    # Types of what `value` and `source` return.
    offered -= {"LiteralDependency", "UpstreamDependency"}
    offered |= {f"config.{name}" for name in vars(function_modifiers.config) if "when" in name}
    texts = "\n".join(case.text for case in CASES)
    used = {name for name in offered if re.search(rf"(?<![\w.]){name}\b[(.\n)]", texts)}
    assert offered - used == set()


def test_a_decorator_that_hamilton_itself_cannot_build_is_a_problem(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    (case,) = (case for case in CASES if case.name == "model")
    project.write("setup.py", SETUP)
    project.write("pipelines/main.py", HEAD + case.text.replace("@_model", "@model"))
    worker.config = case.config
    found = worker.run()
    judged = worker.check(found, may_fail=True)
    (problem,) = found.problems
    assert problem.kind == "graph"
    assert "Configuration has no parameter: linear" in problem.message
    assert "Configuration has no parameter: linear" in judged.error
