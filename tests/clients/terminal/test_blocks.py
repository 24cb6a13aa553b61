"""Events → the lines of a block, as they stand on paper of 80 columns and others."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

import msgspec
import pytest
from rich.cells import cell_len

from hamdev.clients.terminal.blocks import Block, Runs
from hamdev.clients.terminal.edits import Edit
from hamdev.clients.terminal.layout import block_lines, notice_lines, output_lines, progress_line
from hamdev.clients.terminal.paper import Paper
from hamdev.messages import (
    Because,
    Cause,
    Change,
    Diff,
    Event,
    NodeStatus,
    PipelineStatus,
    PlanStep,
    Problem,
    Status,
    Summary,
)
from hamdev.texts import Replacement

ROOT = "/home/me/weather"
SETUP = f"{ROOT}/pipelines/setup.py"
SAVED = Cause(kind="save", text="setup.py changed", files=[SETUP])
NUMBER = Summary(type="int", text="21")
TABLE = Summary(
    type="pandas.DataFrame", text="998 × 4\n…", shape=[998, 4], columns=["", "a", "b", "c", "d"]
)
SERIES = Summary(type="pandas.Series", text="9\n…", shape=[9], columns=["day", "rain"])
CHANGED = Because(
    kind="code", name="is_wet", file=SETUP, line=41, text=f"function is_wet in {SETUP}:41 changed"
)


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def step(node: str, *because: Because, action: Any = "run") -> PlanStep:
    return PlanStep(node=node, action=action, because=list(because))


def follows(node: str, upstream: str) -> PlanStep:
    text = f"{upstream!r}, which it depends on, runs"
    return step(node, Because(kind="upstream", name=upstream, text=text))


def kept(node: str) -> PlanStep:
    text = "nothing that it depends on has changed since run 1"
    return step(node, Because(kind="unchanged", text=text), action="reuse")


class Story:
    """The events of runs, with a clock that goes by a tenth of a second for each."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.number = 0

    def add(self, kind: str, **fields: Any) -> Story:
        self.events.append(
            Event(type=kind, revision=4, time=43200 + len(self.events) / 10, **fields)
        )
        return self

    def of_run(self, kind: str, **fields: Any) -> Story:
        return self.add(kind, run=self.number, pipeline="weather", **fields)

    def start(self, *plan: PlanStep, cause: Cause = SAVED) -> Story:
        self.number += 1
        return self.of_run("run.started", cause=cause, plan=list(plan))

    def value(
        self, node: str, ms: float, summary: Summary = NUMBER, diff: str = "", **fields: Any
    ) -> Story:
        self.of_run("node.started", node=node)
        if diff:
            fields["diff"] = Diff(text=diff)
        fields = {"action": "ran", "changed": bool(diff), **fields}
        return self.of_run("node.finished", node=node, ms=ms, summary=summary, **fields)

    def end(self, outcome: str = "ok", ran: int = 0, reused: int = 0, ms: float = 12.0) -> Story:
        return self.of_run("run.finished", outcome=outcome, ms=ms, ran=ran, reused=reused, failed=0)


def lines_of(
    story: Story,
    width: int = 80,
    edits: list[Edit] | None = None,
    status: Status | None = None,
    several: bool = False,
    encoding: str = "utf-8",
) -> list[str]:
    paper = Paper(width, encoding, True, PurePath(ROOT), PurePath(ROOT))
    runs, lines = Runs(0.0), []
    for event in story.events:
        for shown in runs.take(event, status):
            if isinstance(shown, Block):
                shown.edits = edits or []
                lines += block_lines(shown, paper, lambda file, line: "    return 1", several)
            else:
                lines += notice_lines(shown, paper, lambda file, line: None)
    plain = [line.plain.rstrip() for line in lines]
    assert all(cell_len(line) <= width for line in plain), plain
    return plain


def expected(text: str) -> list[str]:
    return textwrap.dedent(text).strip("\n").splitlines()


def an_edit() -> Story:
    return (
        Story()
        .start(
            step("is_wet", CHANGED),
            follows("clean", "is_wet"),
            follows("longest_dry_spell_days", "is_wet"),
            kept("rain"),
        )
        .value("is_wet", 0.3, SERIES, changed=True)
        .value("clean", 12.0, TABLE, "1,000 → 998 rows")
        .value("longest_dry_spell_days", 0.4, diff="23 → 21 (−8.7 %)")
        .end(ran=3, reused=1)
    )


THE_LINES = Replacement(43, ("    return rain >= wet_day_mm",), ("    return rain > wet_day_mm",))
THE_EDIT = [Edit(SETUP, THE_LINES)]


def test_a_save_that_changed_values() -> None:
    assert lines_of(an_edit(), edits=THE_EDIT) == expected(
        """
        12:00:00  setup.py changed · revision 4
          pipelines/setup.py:43  - return rain >= wet_day_mm
                                 + return rain > wet_day_mm
          because is_wet changed at pipelines/setup.py:41
            is_wet                  Series 9 (changed)                   0.3 ms
            clean                   DataFrame 998 × 4: 1,000 → 998 rows   12 ms
            longest_dry_spell_days  23 → 21 (−8.7 %)                     0.4 ms
          ok in 12 ms: 3 ran, 1 reused
        """
    )


def test_at_forty_columns() -> None:
    assert lines_of(an_edit(), 40, THE_EDIT) == expected(
        """
        12:00:00  setup.py changed · revision 4
          setup.py:43  - return rain >= wet_day…
                       + return rain > wet_day_…
          because is_wet changed at
            pipelines/setup.py:41
            is_wet  Series 9 (changed)    0.3 ms
            clean                          12 ms
              DataFrame 998 × 4: 1,000 → 998
              rows
            longest_dry_spell_days        0.4 ms
              23 → 21 (−8.7 %)
          ok in 12 ms: 3 ran, 1 reused
        """
    )


def test_at_two_hundred_columns_nothing_stands_further_apart() -> None:
    assert lines_of(an_edit(), 200) == lines_of(an_edit(), 80)


def test_as_many_changes_as_there_is_room_for() -> None:
    texts = [f"mean of column_{n} 12.3 → 11.9" for n in range(8)]
    diff = Diff(text=", ".join(texts), changes=[Change(kind="statistic", text=t) for t in texts])

    def shown(width: int, diff: Diff = diff) -> str:
        story = Story().start(step("clean", CHANGED))
        story.of_run("node.finished", node="clean", ms=1.0, summary=TABLE, changed=True, diff=diff)
        lines = lines_of(story.end(ran=1), width)
        return " ".join(" ".join(lines[2:-1]).replace("1.0 ms", "").split())

    assert shown(400) == f"clean DataFrame 998 × 4: {', '.join(texts)}"
    assert shown(80) == f"clean DataFrame 998 × 4: {', '.join(texts[:3])}, …"
    sampled = msgspec.structs.replace(diff, sampled=100_000)
    assert shown(80, sampled).endswith(f"{texts[1]}, … (in a sample of 100,000)")


def test_characters_that_the_terminal_lacks() -> None:
    text = "\n".join(lines_of(an_edit(), encoding="ascii"))
    assert text.isascii()
    assert "23 -> 21 (-8.7 %)" in text
    assert "DataFrame 998 x 4: 1,000 -> 998 rows" in text
    latin = "\n".join(lines_of(an_edit(), encoding="latin-1"))
    assert "23 -> 21" in latin


def test_a_save_that_means_nothing_is_one_line() -> None:
    story = Story().start(kept("a"), kept("b")).end(reused=2, ms=3.21)
    assert lines_of(story) == expected(
        """
        12:00:00  setup.py changed · revision 4
          comment or formatting only: 0 nodes ran, 2 reused, 3.2 ms
        """
    )
    assert len(lines_of(story, 120)) == 1


def test_a_broken_module() -> None:
    problem = Problem(
        kind="syntax",
        message="SyntaxError: '(' was never closed",
        file=SETUP,
        line=39,
        column=12,
        traceback=f'  File "{SETUP}", line 39\n    return (rain\n           ^\nSyntaxError: …\n',
    )
    story = Story().start().of_run("load.failed", problems=[problem]).end("failed")
    fresh = NodeStatus(state="stale", revision=3, run=1, ms=1.0, action="ran", summary=NUMBER)
    served = PipelineStatus(
        modules=["weather"],
        state="failed",
        revision=4,
        run=1,
        final_vars=["a"],
        nodes={"a": fresh},
        problems=[problem],
    )
    status = Status(revision=4, seq=9, pipelines={"weather": served})
    assert lines_of(story, edits=THE_EDIT, status=status) == expected(
        """
        12:00:00  setup.py changed · revision 4
          SyntaxError: '(' was never closed
            pipelines/setup.py:39
                return (rain
                       ^
          failed in 12 ms: nothing ran, the values of revision 3 are still served
        """
    )


def failing(message: str = "KeyError: 'x'") -> Problem:
    library = "/usr/lib/python3/site-packages/pandas/core.py"
    trace = [
        "Traceback (most recent call last):",
        f'  File "{SETUP}", line 5, in clean',
        "    return _cell(frame, 'x') + 1",
        "           ~~~~~^^^^^^^^^^^^",
        f'  File "{SETUP}", line 2, in _cell',
        "    return frame[name]",
        "           ~~~~~^^^^^^",
        f'  File "{library}", line 99, in __getitem__',
        "    raise KeyError(key)",
        message,
    ]
    return Problem(
        kind="node", message=message, file=SETUP, line=2, node="clean", traceback="\n".join(trace)
    )


def test_a_node_that_raises_shows_only_the_users_frames() -> None:
    story = (
        Story()
        .start(step("clean", CHANGED), follows("a", "clean"), follows("b", "clean"))
        .of_run("node.started", node="clean")
        .of_run("node.failed", node="clean", problem=failing())
        .of_run("node.blocked", node="a", by="clean")
        .of_run("node.blocked", node="b", by="clean")
        .end("failed", reused=7)
    )
    assert lines_of(story) == expected(
        """
        12:00:00  setup.py changed · revision 4
          because is_wet changed at pipelines/setup.py:41
          clean: KeyError: 'x'
            pipelines/setup.py:2 in _cell
                return frame[name]
                            ^^^^^^
            called from pipelines/setup.py:5 in clean
                return _cell(frame, 'x') + 1
          2 blocked by clean: a, b
          failed in 12 ms: 1 failed, 2 blocked, 0 ran, 7 reused
        """
    )


def test_an_exception_that_another_one_led_to() -> None:
    inner = failing().traceback
    trace = (
        f"{inner}\n\nThe above exception was the direct cause of the following exception:\n\n"
        f'Traceback (most recent call last):\n  File "{SETUP}", line 7, in clean\n'
        "    raise ValueError('no column')\nValueError: no column\n"
    )
    problem = Problem(kind="node", message="ValueError: no column", node="clean", traceback=trace)
    story = Story().start().of_run("node.failed", node="clean", problem=problem).end("failed")
    lines = lines_of(story)
    assert lines[1:5] == [
        "  clean: ValueError: no column",
        "    pipelines/setup.py:7 in clean",
        "        raise ValueError('no column')",
        "    after KeyError: 'x'",
    ]
    assert lines[5] == "    pipelines/setup.py:2 in _cell"


def test_the_place_in_a_long_line_stays_in_sight() -> None:
    source = "return " + " + ".join(f"column_{n}" for n in range(40)) + " + oops"
    begin = source.index("oops")
    trace = (
        f'Traceback (most recent call last):\n  File "{SETUP}", line 5, in f\n    {source}\n'
        f"    {' ' * begin}^^^^\nNameError: oops\n"
    )
    problem = Problem(kind="node", message="NameError: oops", node="f", traceback=trace)
    story = Story().start().of_run("node.failed", node="f", problem=problem).end("failed")
    for width in (40, 80):
        shown, marks = lines_of(story, width)[3:5]
        assert shown[marks.index("^") :] == "oops"


def test_what_a_replaced_first_run_computed_is_new() -> None:
    story = Story().start(step("a", CHANGED), cause=Cause(kind="start", text="started"))
    story.value("a", 1.0, changed=True).end("superseded")
    story.start(kept("a"), step("b", CHANGED)).value("a", 1.0, action="reused", changed=True)
    story.value("b", 1.0, diff="20 → 21").end(ran=1, reused=1)
    rows = [line.split() for line in lines_of(story) if line.startswith("    ")]
    assert rows == [["a", "21", "earlier"], ["b", "20", "→", "21", "1.0", "ms"]]


def test_places_of_one_file_are_named_alike() -> None:
    edits = [Edit(SETUP, Replacement(n, ("a = 1",), ("a = 2",))) for n in (7, 4512345)]
    story = Story().start(step("a", CHANGED)).value("a", 1.0).end(ran=1)
    leads = [line.split()[0] for line in lines_of(story, 80, edits) if "- a" in line]
    assert leads == ["setup.py:7", "setup.py:4512345"]


def test_what_was_printed_is_bounded_and_steers_nothing() -> None:
    text = "".join(f"line {n}\n" for n in range(1, 1001))
    story = (
        Story()
        .start(step("a", CHANGED))
        .of_run("output", node="a", stream="stdout", text="\x1b[2J\x1b[31mred\x1b[0m\ttab\x07\n")
        .of_run("output", node="a", stream="stdout", text=" 10 %\r 50 %\r100 %\n")
        .of_run("output", node="a", stream="stdout", text=text)
        .value("a", 1.0)
        .end(ran=1)
    )
    lines = lines_of(story)
    begin = lines.index("  printed by a")
    assert lines[begin + 1 : begin + 4] == ["    │ red     tab·", "    │ 100 %", "    │ line 1"]
    assert lines[-7:] == [
        "    │ line 6",
        "    … 990 more lines",
        *(f"    │ line {n}" for n in range(997, 1001)),
        "  ok in 12 ms: 1 ran, 0 reused",
    ]
    assert len(lines) < 20


def test_what_was_shown_while_a_run_went_on_is_not_repeated() -> None:
    paper = Paper(80, "utf-8", True, PurePath(ROOT), PurePath(ROOT))
    runs = Runs(0.0)
    story = Story().start(step("a", CHANGED)).of_run("node.started", node="a")
    story.of_run("output", node="a", stream="stdout", text="one\ntwo\n")
    [*map(list, map(runs.take, story.events))]
    assert not list(runs.new_output(43200.4, 0.5))
    ((pipeline, printed),) = runs.new_output(43200.6, 0.5)
    assert pipeline == "weather"
    progress = runs.progress()
    assert progress is not None
    assert progress.said == "two"
    lines = [line.plain for line in output_lines(printed, "", 43200.6, paper, False)]
    assert lines == ["", "12:00:00  printed by a", "    │ one", "    │ two"]
    progress = runs.progress()
    assert progress is not None
    assert not progress.said
    assert not list(output_lines(printed, "", 43200.7, paper, True))
    story = Story().of_run("output", node="a", stream="stdout", text="three\n")
    text = "".join(f"{n}\n" for n in range(4, 21))
    story.of_run("output", node="a", stream="stdout", text=text)
    story.number = 1
    for event in story.events:
        list(runs.take(msgspec.structs.replace(event, run=1), None))
    lines = [line.plain for line in output_lines(printed, "", 43201.0, paper, True)]
    assert lines == ["    │ three", *(f"    │ {n}" for n in range(4, 9))]
    (end,) = Story().end().events
    (block,) = runs.take(msgspec.structs.replace(end, run=1, pipeline="weather"), None)
    assert isinstance(block, Block)
    shown = [line.plain for line in block_lines(block, paper, lambda file, line: None)]
    assert shown[-7:-1] == [
        "  more printed by a",
        "    … 8 more lines",
        *(f"    │ {n}" for n in range(17, 21)),
    ]


def test_values_that_would_steer_the_terminal_and_wide_ones() -> None:
    wide = Summary(type="str", text="'日本語 😀 \x1b[31m\u202e'")
    story = Story().start().value("語" * 30, 1.0, wide, changed=True).end(ran=1)
    for width in (20, 40, 80, 200):
        text = "\n".join(lines_of(story, width))
        assert all(c.isprintable() or c == "\n" for c in text)


def test_of_many_nodes_the_most_telling_ones_are_shown() -> None:
    story = Story().start(*(step(f"n{number}", CHANGED) for number in range(200)))
    for number in range(200):
        slow = 500.0 if number == 57 else 0.1
        story.value(f"n{number}", slow, diff="1 → 2" if number == 133 else "")
    served = PipelineStatus(
        modules=[],
        state="idle",
        revision=4,
        run=1,
        final_vars=["n199"],
        nodes={},
        problems=[],
    )
    status = Status(revision=4, seq=9, pipelines={"weather": served})
    lines = lines_of(story.end(ran=200), status=status)
    nodes = [line.split()[0] for line in lines if line.startswith("    n")]
    assert {"n57", "n133", "n199"} <= set(nodes)
    assert len(nodes) == 12
    assert nodes == sorted(nodes, key=lambda name: int(name[1:]))
    assert "    … and 188 more (hamdev status)" in lines


def test_superseded_runs_are_mentioned_in_the_next_block() -> None:
    story = (
        Story()
        .start(step("endless", CHANGED))
        .of_run("node.started", node="endless")
        .end("superseded")
        .start(step("endless", CHANGED))
        .value("endless", 1.0)
        .end(ran=1)
    )
    lines = lines_of(story)
    assert lines[0].startswith("12:00:00  setup.py changed")
    assert lines[1:3] == [
        "  run 1 (setup.py changed) was stopped for a newer save after 0.2 s in endless",
        "  because is_wet changed at pipelines/setup.py:41",
    ]
    assert sum("revision 4" in line for line in lines) == 1


def test_a_cancelled_run_is_one_line() -> None:
    story = Story().start(step("a", CHANGED)).end("cancelled", ms=1234.0)
    assert lines_of(story, 100) == [
        "12:00:00  setup.py changed · revision 4  run 1 cancelled after 1.2 s, 0 ran, 0 reused"
    ]


def test_a_lost_worker_belongs_to_the_run_that_ends_with_it() -> None:
    problem = Problem(
        kind="worker", message="the worker exited with status 3 in node 'a'", node="a"
    )
    story = (
        Story()
        .start(step("a", CHANGED))
        .add("worker.lost", problem=problem)
        .end("failed")
        .add("worker.lost", problem=Problem(kind="worker", message="the idle worker is gone"))
        .add("worker.ready")
    )
    lines = lines_of(story)
    assert "  a: the worker exited with status 3 in node 'a'" in lines
    assert lines[-2:] == ["12:00:00  worker", "  the idle worker is gone"]


def test_problems_that_no_event_told_are_those_of_the_status() -> None:
    problem = Problem(kind="node", message="the run took longer than timeout_s = 1", node="a")
    served = PipelineStatus(
        modules=[],
        state="failed",
        revision=4,
        run=1,
        final_vars=[],
        nodes={},
        problems=[problem],
    )
    status = Status(revision=4, seq=9, pipelines={"weather": served})
    story = Story().start(step("a", CHANGED)).end("failed")
    assert "  a: the run took longer than timeout_s = 1" in lines_of(story, status=status)


def test_warnings_of_a_run_and_after_it() -> None:
    story = Story().start().of_run("warning", message="watch out").value("a", 1.0).end(ran=1)
    story.of_run("warning", message="'a' changed its input 'b' in place")
    lines = lines_of(story)
    assert "  warning: watch out" in lines
    assert lines[-1] == "12:00:00  warning: 'a' changed its input 'b' in place"


def test_pipelines_are_named_if_there_are_several() -> None:
    assert (
        lines_of(an_edit(), several=True)[0] == "12:00:00  setup.py changed · weather · revision 4"
    )


def test_the_first_good_run_after_a_bad_one_says_so() -> None:
    story = Story().start().of_run("load.failed", problems=[]).end("failed")
    story.start(kept("a")).end(reused=1)
    assert "  ok again: 0 nodes ran, 1 reused, 12 ms" in lines_of(story, 60)


def test_a_run_whose_events_were_missed_is_shown_by_what_is_served() -> None:
    state = NodeStatus(
        state="fresh",
        revision=5,
        run=2,
        ms=1.5,
        action="ran",
        summary=NUMBER,
        diff=Diff(text="20 → 21"),
    )
    served = PipelineStatus(
        modules=[],
        state="idle",
        revision=5,
        run=2,
        final_vars=["a"],
        nodes={"a": state},
        problems=[],
    )
    status = Status(revision=5, seq=9, pipelines={"weather": served})
    story = Story().start(step("a", CHANGED)).end(ran=1)
    story.add("snapshot", snapshot=status, fresh=True)
    lines = lines_of(story, status=status)
    assert "    a  20 → 21  1.5 ms" in lines
    assert lines[-1].endswith("1 ran, 0 reused")


def test_progress() -> None:
    runs = Runs(43200.0)
    paper = Paper(60)
    waiting = runs.progress()
    assert waiting is not None
    assert progress_line(waiting, 43201.5, paper, False) == "loading 1.5 s"
    story = Story().start(step("a", CHANGED), step("clean_orders", CHANGED), kept("b"))
    story.value("a", 1.0).of_run("node.started", node="clean_orders")
    story.of_run("output", node="clean_orders", stream="stdout", text="epoch 1\nepoch 2\n")
    for event in story.events:
        assert list(runs.take(event)) == []
    going_on = runs.progress()
    assert going_on is not None
    assert progress_line(going_on, 43202.3, paper, False) == (
        "running 2 of 2: clean_orders 2.0 s · epoch 2"
    )
    assert progress_line(going_on, 43202.3, paper, True).startswith("weather: running 2 of 2")
    assert cell_len(progress_line(going_on, 43202.3, Paper(30), True)) < 30
    for event in story.end(ran=2).events[-1:]:
        list(runs.take(event))
    assert runs.progress() is None
