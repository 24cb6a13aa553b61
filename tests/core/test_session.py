"""What the session says to each thing that happens, one situation at a time."""

from __future__ import annotations

import pytest
from session_driver import (
    ASKED,
    PLACE,
    SETTINGS,
    START,
    Driver,
    ends,
    problem,
    published,
    spec,
    starts,
    timers,
)

from hamdev.core.session import (
    EMPTY,
    CancelAsked,
    ContentsSeen,
    EndWorker,
    FilesWritten,
    GraceOver,
    Look,
    PipelinesConfigured,
    Publish,
    RerunAsked,
    SettingsProblemChanged,
    StartTimer,
    StartWorker,
    Tell,
    TimeOver,
    Watch,
    WorkerLost,
)
from hamdev.messages import (
    Anticipate,
    Cancel,
    Event,
    Interrupted,
    Loaded,
    NodeBlocked,
    NodeFailed,
    Output,
    PlanStep,
    Preload,
    Run,
)


@pytest.fixture
def dev() -> Driver:
    return Driver()


def run_told(run: int, revision: int, worker: int = 1, name: str = "a", **fields: object) -> Tell:
    return Tell(worker, Run(run=run, revision=revision, spec=spec(name), **fields))


# -- the first load ------------------------------------------------------------------------------


def test_the_first_worker_gets_the_first_run(dev):
    assert dev.configure(spec("a")) == [StartWorker(1)]
    assert dev.ready(1) == [Publish(Event(type="worker.ready", revision=1)), run_told(1, 1)]
    assert dev.status().state == "running"
    assert not dev.session.is_quiet


def test_a_spare_is_started_once_the_first_load_is_done(dev):
    dev.configure(spec())
    dev.ready()
    assert starts(dev.loaded(1, a="A")) == []
    assert starts(dev.planned(1, "n")) == [StartWorker(2)]
    dev.ready(2)
    assert starts(dev.said) == [StartWorker(1), StartWorker(2)]


def test_what_is_loaded_is_watched_and_known(dev):
    dev.configure(spec())
    dev.ready()
    assert dev.loaded(1, a="A", helper=None) == [Watch(frozenset({"/p/a.py", "/p/helper.py"}))]
    dev.planned(1, "n")
    dev.ended(1)
    assert dev.seen(a="A", helper=None) == []
    assert dev.session.revision == 1


def test_a_run_is_told_from_plan_to_end(dev):
    dev.configure(spec())
    dev.ready()
    dev.whole_run(1, a="A")
    types = [e.type for e in dev.events() if e.run == 1]
    assert types == ["run.started", "node.started", "node.finished", "run.finished"]
    assert dev.events("run.started")[0].cause == START
    finished = dev.events("run.finished")[0]
    assert (finished.outcome, finished.ran, finished.failed, finished.ms) == ("ok", 1, 0, 2.0)
    assert dev.status().state == "idle"
    assert dev.node_states() == {"n": "fresh"}
    assert dev.session.is_quiet


def test_pipelines_run_one_after_the_other_in_the_order_of_the_settings(dev):
    dev.configure(spec("a"), spec("b"))
    dev.ready()
    assert [r.spec.name for r in dev.runs_told()] == ["a"]
    dev.whole_run(1, a="A")
    assert [r.spec.name for r in dev.runs_told()] == ["a", "b"]


# -- saves ---------------------------------------------------------------------------------------


def test_a_save_is_a_revision_and_gets_a_run(dev):
    dev.served()
    assert dev.seen(a="B") == [
        Publish(Event(type="files.changed", revision=2, files=["/p/a.py"])),
        run_told(2, 2),
    ]
    assert dev.node_states() == {"n": "stale"}
    assert dev.status().state == "running"


def test_a_save_without_new_content_is_neither(dev):
    dev.served()
    assert dev.seen(a="A") == []


def test_files_that_nothing_is_built_from_do_not_matter(dev):
    dev.served()
    assert dev.seen(other="X") == []
    assert dev.session.revision == 1


def test_a_save_reaches_those_pipelines_alone_that_know_the_file(dev):
    dev.configure(spec("a"), spec("b"))
    dev.ready()
    dev.whole_run(1, a="A")
    dev.whole_run(2, b="B")
    dev.said.clear()
    dev.seen(b="C")
    assert [r.spec.name for r in dev.runs_told()] == ["b"]
    assert dev.node_states("a") == {"n": "fresh"}


def test_a_file_that_vanishes_and_one_that_appears_are_changes(dev):
    dev.served(a="A", helper=None)
    dev.seen(a=None)
    dev.whole_run(2, a=None, helper=None)
    dev.seen(helper="H")
    assert [r.revision for r in dev.runs_told()] == [2, 3]


def test_a_save_during_a_run_supersedes_it(dev):
    dev.served()
    dev.seen(a="B")
    dev.loaded(2, a="B")
    dev.planned(2, "n")
    out = dev.seen(a="C")
    assert out[1:] == [Tell(1, Cancel(run=2)), StartTimer("grace", 2, 0.5)]
    dev.ended(2, "cancelled")
    assert dev.outcomes() == [(2, "superseded")]
    assert dev.runs_told()[-1] == Run(run=3, revision=3, spec=spec())
    assert dev.status().state == "running"


def test_ten_saves_during_a_run_lead_to_one_more(dev):
    dev.served()
    dev.seen(a="B")
    for number in range(10):
        dev.seen(a=f"C{number}")
    dev.ended(2, "cancelled")
    assert [r.revision for r in dev.runs_told()] == [2, 12]
    assert len([i for i in dev.said if isinstance(i, Tell)]) == 3


def test_a_superseded_run_shows_nothing_as_current(dev):
    dev.served()
    dev.seen(a="B")
    dev.loaded(2, a="B")
    dev.planned(2, "n", "m")
    dev.started(2, "n")
    dev.seen(a="C")
    dev.said.clear()
    dev.finished(2, "n")
    dev.started(2, "m")
    dev.says(1, NodeFailed(run=2, node="m", ms=1.0, problem=problem()))
    dev.says(1, NodeBlocked(run=2, node="m", by="n"))
    assert dev.events() == []
    assert set(dev.node_states().values()) == {"stale"}
    dev.ended(2, "ok")
    assert dev.outcomes() == [(2, "superseded")]
    assert dev.status().problems == []


def test_a_run_that_ends_by_itself_after_it_was_superseded_is_superseded(dev):
    dev.served()
    dev.seen(a="B")
    dev.loaded(2, a="B")
    dev.planned(2, "n")
    dev.finished(2, "n")
    dev.seen(a="C")
    dev.ended(2, "ok")
    assert dev.outcomes() == [(2, "superseded")]
    assert dev.node_states() == {"n": "stale"}


def test_causes_of_a_run_that_waits_are_put_together(dev):
    dev.served(a="A", b="B")
    dev.seen(a="A2")
    dev.seen(a="A3")
    dev.seen(b="B2")
    dev.ended(2, "cancelled")
    dev.planned(3, "n")
    cause = dev.events("run.started")[-1].cause
    assert cause.files == ["/p/a.py", "/p/b.py"]
    assert cause.text == "2 files changed: a.py, b.py"


# -- what a worker reads and what the watcher sees -----------------------------------------------


def test_a_load_that_reads_newer_content_is_the_run_of_that_revision(dev):
    dev.served(a="A", b="B")
    dev.seen(a="A2")
    out = dev.loaded(2, a="A2", b="B2")
    assert [e.type for e in published(out)] == ["files.changed"]
    assert Look(frozenset({"/p/b.py"})) in out
    assert dev.session.revision == 3
    assert dev.seen(b="B2") == []
    dev.planned(2, "n")
    dev.finished(2, "n")
    dev.ended(2)
    assert len(dev.runs_told()) == 1
    assert dev.events("run.started")[-1].revision == 3
    assert dev.events("run.started")[-1].cause.files == ["/p/a.py", "/p/b.py"]
    assert dev.events("run.finished")[-1].revision == 3
    assert dev.status().nodes["n"].revision == 3
    assert dev.status().revision == 3


def test_a_load_that_fails_on_what_may_be_half_written_tells_nobody_and_waits(dev):
    dev.served(a="A", b="B")
    dev.seen(a="A2")
    dev.loaded(2, a="A2", b="half")
    dev.ended(2, "failed", load_problems=[problem(kind="syntax")])
    assert dev.outcomes() == [(2, "superseded")]
    assert dev.events("load.failed") == []
    assert dev.status().problems == []
    assert [r.run for r in dev.runs_told()] == [2]
    assert not dev.session.is_quiet
    dev.seen(b="B2")
    assert [r.run for r in dev.runs_told()] == [2, 3]
    dev.whole_run(3, a="A2", b="B2")
    assert dev.session.is_quiet
    assert dev.events("run.started")[-1].cause.files == ["/p/a.py", "/p/b.py"]


def test_what_is_broken_for_good_is_told_once_it_has_settled(dev):
    dev.served(a="A", b="B")
    dev.seen(a="A2")
    for run in (2, 3):
        dev.loaded(run, a="A2", b="broken")
        dev.ended(run, "failed", load_problems=[problem(kind="syntax")])
        dev.seen(b="broken")
    assert dev.outcomes() == [(2, "superseded"), (3, "failed")]
    assert len(dev.events("load.failed")) == 1
    assert dev.session.is_quiet


def test_what_has_settled_during_the_load_is_not_waited_for(dev):
    dev.served(a="A", b="B")
    dev.seen(a="A2")
    dev.loaded(2, a="A2", b="broken")
    dev.seen(b="broken")
    dev.ended(2, "failed", load_problems=[problem(kind="syntax")])
    assert dev.outcomes() == [(2, "failed")]
    assert dev.session.is_quiet


def test_a_file_that_a_load_finds_empty_is_waited_for(dev):
    dev.served(a="A", b="B")
    dev.seen(a="A2")
    out = dev.loaded(2, a="A2", b=EMPTY)
    assert Tell(1, Cancel(run=2)) in out
    dev.ended(2, "cancelled")
    assert [r.run for r in dev.runs_told()] == [2]
    dev.seen(b="B2")
    assert [r.run for r in dev.runs_told()] == [2, 3]


def test_other_pipelines_wait_for_what_is_half_written_too(dev):
    dev.served("a", "b", a="A", common="C")
    dev.handle(RerunAsked(["b"], ASKED))
    dev.loaded(3, a="A", common="half")
    dev.ended(3, "failed", load_problems=[problem(kind="syntax")])
    assert [r.run for r in dev.runs_told()] == [3]
    dev.seen(common="C2")
    dev.whole_run(4, a="A", common="C2")
    dev.whole_run(5, a="A", common="C2")
    assert dev.session.is_quiet


def test_code_that_breaks_a_module_whenever_it_is_loaded_does_not_run_for_ever(dev):
    dev.served(a="A", b="B")
    dev.handle(RerunAsked(["a"], ASKED))
    for run in range(2, 6):
        dev.loaded(run, a="A", b=f"broken {run}")
        dev.ended(run, "failed", load_problems=[problem(kind="syntax")])
        dev.seen(b=f"broken {run}")
    assert dev.session.is_quiet
    assert [outcome for _, outcome in dev.outcomes()] == ["superseded"] * 3 + ["failed"]


def test_newer_content_reaches_the_other_pipelines_that_know_the_file(dev):
    dev.served("a", "b", a="A", common="C")
    dev.handle(RerunAsked(["b"], ASKED))
    dev.loaded(3, a="A", common="C2")
    dev.planned(3, "n")
    dev.ended(3)
    assert [(r.spec.name, r.revision) for r in dev.runs_told()] == [("b", 1), ("a", 2)]


def test_nobody_knows_which_is_newer_so_it_runs_again(dev):
    dev.configure(spec("a"), spec("b"))
    dev.ready()
    dev.whole_run(1, common="C")
    # b did not know the file so far, so what is seen of it supersedes nothing …
    dev.seen(common="C2")
    assert dev.session.current_run == 2
    # … but what it has read may be older.
    out = dev.loaded(2, common="C")
    assert Tell(1, Cancel(run=2)) in out
    dev.ended(2, "cancelled")
    dev.whole_run(3, common="C2")
    dev.whole_run(4, common="C2")
    assert dev.session.is_quiet
    assert dev.outcomes() == [(1, "ok"), (2, "superseded"), (3, "ok"), (4, "ok")]


def test_a_worker_and_a_watcher_that_never_agree_do_not_run_for_ever(dev):
    dev.served()
    dev.handle(RerunAsked(["a"], ASKED))
    dev.whole_run(2, a="X")
    dev.seen(a="A")
    dev.whole_run(3, a="X")
    assert dev.session.is_quiet


def test_a_load_may_be_reported_in_parts(dev):
    dev.served(a="A", b="B")
    dev.seen(b="B2")
    assert dev.loaded(2, a="A") == []
    assert dev.loaded(2, a="A", b="B2", c="C")[0] == Watch(
        frozenset({"/p/a.py", "/p/b.py", "/p/c.py"})
    )
    dev.planned(2, "n")
    dev.loaded(2, table="T")
    dev.ended(2)
    dev.seen(table="T2")
    assert [r.run for r in dev.runs_told()] == [2, 3]


def test_one_load_that_read_two_contents_of_a_file_is_repeated(dev):
    dev.served()
    dev.handle(RerunAsked(["a"], ASKED))
    dev.loaded(2, a="A")
    dev.planned(2, "n")
    out = dev.loaded(2, a="B")
    assert Tell(1, Cancel(run=2)) in out
    dev.ended(2, "cancelled")
    dev.whole_run(3, a="B")
    assert dev.seen(a="B") == []
    assert dev.session.is_quiet


def test_files_that_left_the_pipeline_are_no_longer_watched(dev):
    dev.served(a="A", helper="H")
    dev.seen(a="A2")
    dev.loaded(2, a="A2")
    assert Watch(frozenset({"/p/a.py"})) in dev.planned(2, "n")
    dev.ended(2)
    assert dev.seen(helper="H2") == []


def test_a_failed_load_forgets_no_file(dev):
    dev.served(a="A", helper="H")
    dev.seen(a="broken")
    dev.loaded(2, a="broken")
    dev.ended(2, "failed", load_problems=[problem("invalid syntax", kind="syntax")])
    assert dev.status().state == "failed"
    dev.seen(helper="H2")
    assert [r.run for r in dev.runs_told()] == [2, 3]


def test_a_failed_load_is_told_and_the_last_good_values_stay(dev):
    dev.served()
    dev.seen(a="broken")
    dev.loaded(2, a="broken")
    wrong = problem("invalid syntax", kind="syntax")
    out = published(dev.ended(2, "failed", load_problems=[wrong]))
    assert [e.type for e in out] == ["run.started", "load.failed", "run.finished"]
    assert out[1].problems == [wrong]
    status = dev.status()
    assert status.problems == [wrong]
    assert status.nodes["n"].state == "stale"
    assert status.nodes["n"].revision == 1
    assert status.nodes["n"].summary.text == "1"


# -- reports of others ---------------------------------------------------------------------------


def test_reports_of_another_run_or_worker_do_not_count(dev):
    dev.served()
    dev.seen(a="B")
    dev.said.clear()
    dev.ended(1)
    dev.finished(1, "n")
    dev.loaded(2, worker=7, a="Z")
    dev.planned(2, "n", worker=7)
    dev.ended(2, worker=7)
    dev.says(7, Interrupted(run=2))
    assert dev.said == []
    assert dev.session.current_run == 2


def test_an_end_that_is_told_twice_counts_once(dev):
    dev.served()
    dev.seen(a="B")
    dev.whole_run(2, a="B")
    dev.ended(2)
    assert dev.outcomes() == [(2, "ok")]


def test_a_worker_that_was_lost_cannot_get_ready(dev):
    dev.configure(spec())
    dev.handle(WorkerLost(1, "was killed"))
    assert dev.ready(1) == []
    assert dev.session.worker is None


def test_output_is_of_the_run_once_the_plan_is_out(dev):
    dev.served()
    dev.seen(a="B")
    text = Output(run=2, node=None, stream="stdout", text="hello\n")
    (before,) = published(dev.says(1, text))
    assert (before.pipeline, before.text) == ("a", "hello\n")
    assert not isinstance(before.run, int)
    dev.planned(2, "n")
    (during,) = published(dev.says(1, text))
    assert during.run == 2
    (spare,) = published(
        dev.says(2, Output(run=None, node=None, stream="stderr", text="preloading"))
    )
    assert not isinstance(spare.run, int)


# -- nodes ---------------------------------------------------------------------------------------


def test_a_failed_node_keeps_its_last_value_until_it_has_a_new_one(dev):
    dev.served()
    dev.seen(a="B")
    dev.loaded(2, a="B")
    dev.planned(2, "n", "m")
    dev.started(2, "n")
    dev.says(1, NodeFailed(run=2, node="n", ms=1.0, problem=problem(node="n")))
    dev.says(1, NodeBlocked(run=2, node="m", by="n"))
    dev.ended(2, "failed")
    status = dev.status()
    assert (status.state, status.problems) == ("failed", [problem(node="n")])
    assert (status.nodes["n"].state, status.nodes["n"].revision) == ("failed", 1)
    assert status.nodes["m"].state == "blocked"
    assert dev.events("run.finished")[-1].failed == 1
    # The next save makes the problem as old as the value.
    dev.seen(a="C")
    assert dev.status().problems == []
    assert dev.node_states() == {"n": "stale", "m": "stale"}


def test_leaves_that_cannot_be_computed_are_told_after_the_plan(dev):
    dev.served()
    dev.seen(a="B")
    dev.loaded(2, a="B")
    missing = problem("needs input 'x'", kind="input")
    out = published(dev.planned(2, "n", blocked={"leaf": missing}, warnings=["look out"]))
    assert [e.type for e in out] == ["run.started", "node.failed", "warning"]
    assert dev.node_states() == {"n": "queued", "leaf": "blocked"}


# -- cancel, timeout, grace ----------------------------------------------------------------------


def running(dev: Driver, *names: str, **fields: object) -> None:
    """Pipeline `a` is in node `n` of run 1."""
    dev.configure(spec("a", **fields), *(spec(name) for name in names))
    dev.ready()
    dev.loaded(1, a="A")
    dev.planned(1, "n")
    dev.ready(2)
    dev.started(1, "n")
    dev.said.clear()


def test_cancel_is_polite_first(dev):
    running(dev)
    assert dev.handle(CancelAsked()) == [
        Tell(1, Cancel(run=1)),
        StartTimer("grace", 1, 0.5),
    ]
    assert dev.handle(CancelAsked()) == []
    dev.says(1, NodeFailed(run=1, node="n", ms=1.0, problem=problem()))
    dev.ended(1, "cancelled")
    assert dev.outcomes() == [(1, "cancelled")]
    assert dev.status().state == "idle"
    assert dev.node_states() == {"n": "stale"}
    assert dev.events("node.failed") == []
    assert dev.session.worker == 1


def test_code_that_was_interrupted_has_less_time_left(dev):
    running(dev)
    assert dev.says(1, Interrupted(run=1)) == []
    dev.handle(CancelAsked())
    assert dev.says(1, Interrupted(run=1)) == [StartTimer("grace", 1, 0.05)]
    assert dev.says(1, Interrupted(run=1)) == []


@pytest.mark.parametrize(
    ("cause", "outcome"),
    [
        (CancelAsked(), "cancelled"),
        (ContentsSeen({"/p/a.py": "B"}), "superseded"),
        (TimeOver(1), "failed"),
    ],
)
def test_a_run_that_does_not_end_costs_its_worker(dev, cause, outcome):
    running(dev, timeout_s=9.0)
    dev.handle(cause)
    dev.says(1, Interrupted(run=1))
    out = dev.handle(GraceOver(1))
    assert ends(out) == [1]
    assert dev.outcomes() == [(1, outcome)]
    lost = dev.events("worker.lost")[-1].problem
    assert (lost.file, lost.line, lost.node) == (PLACE.file, PLACE.line, "n")
    assert dev.session.worker == 2
    # What else was started for the run, and what its worker still says, comes too late.
    dev.said.clear()
    assert dev.handle(GraceOver(1)) == []
    assert dev.handle(TimeOver(1)) == []
    assert dev.ended(1) == []
    assert dev.handle(WorkerLost(1, "was killed")) == []
    assert [r.run for r in dev.runs_told()] == []
    assert ends(dev.said) == []


def test_a_save_gets_its_run_in_the_spare_when_the_worker_is_given_up(dev):
    running(dev)
    dev.seen(a="B")
    out = dev.handle(GraceOver(1))
    assert Tell(2, Run(run=2, revision=2, spec=spec())) in out


def test_grace_of_a_run_that_has_ended_does_nothing(dev):
    running(dev)
    dev.handle(CancelAsked())
    dev.ended(1, "cancelled")
    assert dev.handle(GraceOver(1)) == []


def test_pipelines_that_shared_the_worker_get_their_values_again_each_time(dev):
    dev.served("a", "b")
    for run, worker in ((3, 1), (5, 2)):
        dev.handle(RerunAsked(["a"], ASKED))
        dev.loaded(run, worker, a="A")
        dev.planned(run, "n", worker=worker)
        dev.handle(CancelAsked())
        dev.handle(GraceOver(run))
        assert dev.node_states("b") == {"n": "stale"}
        dev.whole_run(run + 1, worker + 1, a="A")
        dev.bring_up()
        assert dev.node_states("b") == {"n": "fresh"}


def test_cancel_drops_what_waits_and_says_so(dev):
    running(dev, "b")
    out = dev.handle(CancelAsked())
    (started, finished) = published(out)
    assert (started.type, started.run, started.pipeline) == ("run.started", 2, "b")
    assert (finished.type, finished.run, finished.outcome) == ("run.finished", 2, "cancelled")
    dev.ended(1, "cancelled")
    assert dev.session.is_quiet
    assert dev.status("b").state == "idle"
    assert dev.runs_told() == []


def test_cancel_after_a_save_leaves_no_pipeline_running_in_name(dev):
    running(dev)
    dev.seen(a="B")
    dev.handle(CancelAsked())
    # The load of the superseded run has read something older; that is no cause any more.
    dev.loaded(1, a="A")
    dev.ended(1, "cancelled")
    assert dev.outcomes() == [(2, "cancelled"), (1, "superseded")]
    assert dev.status().state == "idle"
    assert dev.node_states() == {"n": "stale"}
    assert dev.session.is_quiet


def test_a_save_after_cancel_runs(dev):
    running(dev)
    dev.handle(CancelAsked())
    dev.seen(a="B")
    dev.finished(1, "n")
    assert dev.node_states() == {"n": "stale"}
    dev.ended(1, "cancelled")
    assert dev.outcomes() == [(1, "cancelled")]
    assert [r.run for r in dev.runs_told()] == [2]


def test_a_run_stays_outdated_when_its_successor_is_cancelled(dev):
    running(dev)
    dev.handle(CancelAsked())
    dev.seen(a="B")
    dev.handle(CancelAsked())
    dev.finished(1, "n")
    assert dev.node_states() == {"n": "stale"}
    dev.ended(1, "cancelled")
    assert dev.outcomes() == [(2, "cancelled"), (1, "cancelled")]
    assert dev.node_states() == {"n": "stale"}
    assert dev.session.is_quiet


def test_a_cancelled_run_that_read_newer_content_is_dated_by_it(dev):
    dev.served(a="A", b="B")
    dev.seen(a="A2")
    dev.handle(CancelAsked())
    dev.loaded(2, a="A2", b="B2")
    dev.planned(2, "n")
    dev.finished(2, "n")
    assert (dev.status().nodes["n"].state, dev.status().nodes["n"].revision) == ("fresh", 3)
    dev.ended(2, "cancelled")
    assert dev.outcomes() == [(2, "cancelled")]


def test_a_timeout_names_the_node_that_took_too_long(dev):
    dev.configure(spec(timeout_s=1.5))
    assert timers(dev.ready()) == [StartTimer("time", 1, 1.5)]
    dev.loaded(1, a="A")
    dev.planned(1, "n")
    dev.started(1, "n")
    assert Tell(1, Cancel(run=1)) in dev.handle(TimeOver(1))
    dev.says(1, NodeFailed(run=1, node="n", ms=1.0, problem=problem("interrupted")))
    dev.ended(1, "cancelled")
    assert dev.outcomes() == [(1, "failed")]
    (slow,) = dev.status().problems
    assert slow.message == "the run took longer than timeout_s = 1.5"
    assert (slow.kind, slow.node, slow.line) == ("node", "n", PLACE.line)


# -- rerun ---------------------------------------------------------------------------------------


def test_rerun_runs_again_in_the_same_worker_and_revision(dev):
    dev.served()
    forced = {"forced": None, "forced_by": "asked for"}
    assert dev.handle(RerunAsked(["a", "unknown"], ASKED)) == [run_told(2, 1, **forced)]
    assert dev.session.queued_run("a") == 2


def test_only_the_nodes_that_were_asked_for_are_forced(dev):
    dev.served()
    forced = {"forced": ("n",), "forced_by": "asked for"}
    told = dev.handle(RerunAsked(["a"], ASKED, nodes=["n"]))
    assert told == [run_told(2, 1, **forced)]


def test_what_was_forced_stays_forced_if_a_save_comes_between(dev):
    dev.served()
    dev.handle(RerunAsked(["a"], ASKED, nodes=["n"]))
    dev.seen(a="2")
    dev.ended(2, "cancelled")
    tell = [t for t in dev.said if isinstance(t, Tell) and isinstance(t.command, Run)][-1]
    assert (tell.command.run, tell.command.forced) == (3, ("n",))


def test_a_worn_worker_hands_its_run_on_to_the_spare(dev):
    dev.served("a", "b", A="1", B="1")
    before = len(dev.outcomes())
    dev.seen(A="2")
    run = dev.session.current_run
    out = dev.ended(run, "cancelled", is_worn=True)
    assert ends(out) == [1]
    told = [i for i in out if isinstance(i, Tell)]
    assert [(i.worker, i.command.run, i.command.spec.name) for i in told] == [(2, run, "a")]
    assert published(out) == []
    dev.whole_run(run, worker=2, A="2")
    assert dev.outcomes()[before:] == [(run, "ok")]
    assert dev.session.queued_run("b") is not None


def test_a_worn_worker_s_run_that_was_superseded_is_not_handed_on(dev):
    dev.served("a", A="1")
    dev.seen(A="2")
    first = dev.session.current_run
    dev.seen(A="3")
    out = dev.ended(first, "cancelled", is_worn=True)
    assert ends(out) == [1]
    assert dev.outcomes()[-1] == (first, "superseded")
    assert dev.session.current_run == first + 1


def test_a_clean_rerun_ends_the_run_and_its_worker_at_once(dev):
    dev.served("a", "b")
    dev.seen(a="B")
    dev.said.clear()
    out = dev.handle(RerunAsked(["b"], ASKED, clean=True))
    assert EndWorker(1) in out
    assert dev.outcomes() == [(3, "superseded")]
    assert dev.session.worker == 2
    # The values of both are gone.
    assert dev.node_states("a") == dev.node_states("b") == {"n": "stale"}
    assert dev.handle(GraceOver(3)) == []
    dev.whole_run(5, 2, a="B")
    dev.whole_run(4, 2, a="B")
    assert dev.session.is_quiet
    assert dev.node_states("a") == dev.node_states("b") == {"n": "fresh"}


# -- settings ------------------------------------------------------------------------------------


def test_an_edit_of_the_settings_runs_what_it_changed(dev):
    dev.served("a", "b")
    dev.configure(spec("a"), spec("b", final_vars=("n",)), spec("c"), cause=SETTINGS)
    assert dev.session.revision == 2
    assert [(r.spec.name, r.revision) for r in dev.runs_told()] == [("b", 2)]
    dev.whole_run(3, a="A")
    assert [r.spec.name for r in dev.runs_told()] == ["b", "c"]


def test_an_edit_that_changes_nothing_does_nothing(dev):
    dev.served("a", "b")
    assert dev.configure(spec("a"), spec("b"), cause=SETTINGS) == []
    assert dev.session.revision == 1


def test_an_edit_keeps_the_number_of_a_run_that_waits(dev):
    running(dev, "b")
    number = dev.session.queued_run("b")
    dev.configure(spec("a"), spec("b", final_vars=("n",)), cause=SETTINGS)
    assert dev.session.queued_run("b") == number


def test_a_removed_pipeline_ends_its_runs(dev):
    running(dev, "b", timeout_s=1.0)
    dev.handle(TimeOver(1))
    out = dev.configure(cause=SETTINGS)
    assert [(e.run, e.outcome) for e in published(out) if e.type == "run.finished"] == [
        (2, "cancelled")
    ]
    dev.finished(1, "n")
    dev.loaded(1, a="A")
    dev.ended(1, "cancelled")
    assert dev.outcomes()[-1] == (1, "failed")
    assert dev.session.statuses() == {}
    assert dev.session.is_quiet


def test_a_pipeline_that_is_removed_and_comes_back_runs_anew(dev):
    running(dev)
    dev.configure(cause=SETTINGS)
    dev.configure(spec("a"), cause=SETTINGS)
    dev.loaded(1, a="A")
    dev.planned(1, "n")
    dev.finished(1, "n")
    assert dev.node_states() == {}
    dev.ended(1, "cancelled")
    assert dev.outcomes() == [(1, "superseded")]
    assert [r.run for r in dev.runs_told()] == [2]


def test_broken_settings_are_a_problem_of_every_pipeline(dev):
    dev.served("a", "b")
    wrong = problem("unknown key", kind="settings")
    dev.handle(SettingsProblemChanged(wrong))
    assert dev.status("a").problems == dev.status("b").problems == [wrong]
    dev.seen(a="B")
    dev.whole_run(3, a="B")
    assert dev.status("a").problems == [wrong]
    dev.handle(SettingsProblemChanged(None))
    assert dev.status("a").problems == []


# -- lost workers --------------------------------------------------------------------------------


def test_the_spare_takes_over_from_an_idle_worker(dev):
    dev.served("a", "b")
    out = dev.handle(WorkerLost(1, "was killed by SIGKILL", by_kill=True))
    assert [e.type for e in published(out)] == ["worker.lost"]
    assert [r.spec.name for r in dev.runs_told()] == ["a"]
    assert dev.node_states("b") == {"n": "stale"}
    dev.whole_run(3, 2, a="A")
    assert starts(dev.said) == [StartWorker(3)]
    dev.whole_run(4, 2, a="A")
    assert dev.session.is_quiet


def test_however_often_an_idle_worker_is_killed_the_values_come_back(dev):
    dev.served()
    for kill in range(1, 8):
        dev.handle(WorkerLost(kill, "was killed by SIGKILL", by_kill=True))
        dev.whole_run(kill + 1, kill + 1, a="A")
        dev.bring_up()
        assert dev.node_states() == {"n": "fresh"}


def test_code_that_crashes_idle_workers_is_revived_once(dev):
    dev.served()
    dev.handle(WorkerLost(1, "ended by SIGSEGV"))
    dev.whole_run(2, 2, a="A")
    dev.bring_up()
    dev.handle(WorkerLost(2, "ended by SIGSEGV"))
    assert dev.session.is_quiet
    assert dev.status().state == "failed"
    assert (
        dev.status().problems[0].message == "the idle worker ended by SIGSEGV; its values are lost"
    )
    dev.seen(a="B")
    assert [r.run for r in dev.runs_told()] == [2, 3]


def test_a_run_that_crashes_its_worker_waits_for_a_save_and_others_run_again(dev):
    dev.served("a", "b")
    dev.seen(a="B")
    dev.loaded(3, a="B")
    dev.planned(3, "n")
    dev.started(3, "n")
    dev.handle(WorkerLost(1, "ended by SIGSEGV"))
    assert dev.outcomes() == [(3, "failed")]
    (crash,) = dev.status("a").problems
    assert crash.message == "the worker ended by SIGSEGV in node 'n'"
    assert (crash.node, crash.line) == ("n", PLACE.line)
    assert [r.spec.name for r in dev.runs_told()] == ["a", "b"]
    dev.ready(3)
    dev.whole_run(4, 2, a="B")
    assert dev.session.is_quiet


def test_two_pipelines_that_both_crash_do_not_start_each_other_for_ever(dev):
    dev.served("a", "b")
    dev.seen(a="B")
    for worker in range(1, 6):
        run = dev.session.current_run
        if run is None:
            break
        dev.planned(run, "n", worker=worker)
        dev.handle(WorkerLost(worker, "ended by SIGSEGV"))
        dev.bring_up()
    assert dev.session.is_quiet
    assert dev.outcomes() == [(3, "failed"), (4, "failed")]


def test_a_run_whose_worker_was_killed_from_outside_is_repeated_a_few_times(dev):
    dev.served()
    dev.seen(a="B")
    for worker in range(1, 8):
        if (run := dev.session.current_run) is None:
            break
        dev.handle(WorkerLost(worker, "was killed by SIGKILL", by_kill=True))
        dev.bring_up()
        assert dev.outcomes()[-1] == (run, "failed")
    assert len(dev.outcomes()) == 4
    assert dev.session.is_quiet


def test_a_cancelled_run_whose_worker_is_killed_stays_cancelled(dev):
    running(dev)
    dev.handle(CancelAsked())
    dev.handle(WorkerLost(1, "was killed by SIGKILL", by_kill=True))
    assert dev.outcomes() == [(1, "cancelled")]
    assert dev.session.is_quiet
    assert dev.status().problems == []


def test_a_superseded_run_whose_worker_is_lost_has_its_successor(dev):
    running(dev)
    dev.seen(a="B")
    dev.handle(WorkerLost(1, "ended by SIGSEGV"))
    assert dev.outcomes() == [(1, "superseded")]
    assert [r.run for r in dev.runs_told()] == [2]


def test_a_lost_spare_is_replaced_ever_more_slowly(dev):
    dev.served()
    delays = []
    for spare in range(2, 9):
        out = dev.handle(WorkerLost(spare, "was killed"))
        delays += [s.after_s for s in starts(out)]
        dev.ready(spare + 1)
    assert delays == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0]
    assert dev.session.worker == 1


def test_workers_that_cannot_start_are_a_problem_until_one_can(dev):
    dev.configure(spec())
    for worker in range(1, 40):
        out = dev.handle(WorkerLost(worker, "ended with status 1"))
        assert [s.worker for s in starts(out)] == [worker + 1]
    assert starts(dev.said)[-1].after_s == 30.0
    assert dev.status().problems[0].kind == "worker"
    dev.ready(40)
    assert dev.status().problems == []
    assert dev.session.current_run == 1


def test_one_spare_that_cannot_start_is_no_problem_of_the_pipelines(dev):
    dev.configure(spec())
    dev.ready()
    dev.planned(1, "n")
    dev.ended(1)
    dev.handle(WorkerLost(2, "was killed by SIGKILL", by_kill=True))
    assert dev.status().problems == []
    dev.handle(WorkerLost(3, "was killed by SIGKILL", by_kill=True))
    assert dev.status().problems[0].kind == "worker"
    dev.ready(4)
    assert dev.status().problems == []


def test_the_spare_is_told_what_the_project_imports(dev):
    dev.configure(spec("a"), spec("b"))
    dev.ready()
    dev.planned(1, "n")
    dev.ready(2)
    out = dev.says(1, Loaded(run=1, files={"/p/a.py": "A"}, third_party=["numpy"]))
    assert Tell(2, Preload(modules=["numpy"])) in out
    dev.ended(1)
    out = dev.says(1, Loaded(run=2, files={"/p/b.py": "B"}, third_party=["yaml"]))
    assert Tell(2, Preload(modules=["numpy", "yaml"])) in out
    dev.handle(WorkerLost(2, "was killed"))
    dev.planned(2, "n")
    assert Tell(3, Preload(modules=["numpy", "yaml"])) in dev.ready(3)


# -- reuse ---------------------------------------------------------------------------------------


def test_a_value_of_a_superseded_run_is_told_when_it_is_reused(dev):
    dev.served()
    dev.seen(a="2")
    dev.loaded(2, a="2")
    dev.planned(2, "n")
    dev.started(2, "n")
    dev.seen(a="3")
    dev.finished(2, "n")
    assert not [e for e in published(dev.said) if e.type == "node.finished" and e.run == 2]
    dev.ended(2, "cancelled")
    dev.loaded(3, a="3")
    plan = [PlanStep(node="n", action="reuse", because=[])]
    told = dev.planned(3, "n", plan=plan)
    shown = [e for e in published(told) if e.type == "node.finished"]
    assert [(e.run, e.node, e.action, e.changed) for e in shown] == [(3, "n", "reused", True)]
    dev.ended(3)
    assert dev.status().nodes["n"].state == "fresh"
    # Everybody has seen it by now.
    dev.handle(RerunAsked(["a"], ASKED, nodes=["n"]))
    dev.loaded(4, a="3")
    assert not [e for e in published(dev.planned(4, "n", plan=plan)) if e.type == "node.finished"]


# -- what is likely to come ----------------------------------------------------------------------


def test_an_idle_worker_is_told_what_is_likely_to_run(dev):
    dev.configure(spec("a"), spec("b"))
    dev.ready(1)
    dev.whole_run(1, a="A")
    dev.whole_run(2, b="B")
    said = dev.handle(FilesWritten(["/p/a.py", "/p/other.py"]))
    assert said == [Tell(1, Anticipate(spec=spec("a")))]
    assert dev.session.is_quiet
    assert dev.session.revision == 1


def test_a_busy_worker_is_told_nothing(dev):
    dev.served(a="A")
    dev.seen(a="A2")
    assert dev.handle(FilesWritten(["/p/a.py"])) == []


def test_without_a_worker_nothing_is_anticipated(dev):
    dev.configure(spec())
    assert dev.handle(FilesWritten(["/p/a.py"])) == []


def test_a_save_counts_though_the_first_run_was_dropped_before_anything_was_loaded(dev):
    dev.handle(PipelinesConfigured([spec()], START, {"a": ["/p/a.py", "/p/a/__init__.py"]}))
    dev.handle(ContentsSeen({"/p/a.py": "A", "/p/a/__init__.py": None}))
    dev.handle(CancelAsked())
    dev.ready()
    assert dev.session.current_run is None
    dev.handle(ContentsSeen({"/p/a.py": "A2"}))
    assert dev.session.current_run is not None


# -- which revision a composed DAG is of ---------------------------------------------------------


def test_a_dag_is_of_the_revision_of_what_was_loaded_for_it(dev):
    dev.served(a="A", b="B")
    assert dev.session.composed("a") == {1: 1}
    dev.seen(a="A2")
    assert dev.session.composed("a") == {1: 1}
    dev.loaded(2, a="A2", b="B2")  # newer than what was seen
    dev.planned(2, "n")
    assert dev.session.composed("a") == {1: 1, 2: 3}
    dev.loaded(2, c="read by a node")
    dev.loaded(2, b="B2")
    assert dev.session.composed("a") == {1: 1, 2: 3}
    dev.ended(2)
    dev.seen(a="broken")
    dev.loaded(3, a="broken")
    dev.ended(3, "failed", load_problems=[problem(kind="syntax")])
    assert dev.session.composed("a") == {1: 1, 2: 3}
    assert dev.session.composed("no such pipeline") == {}


def test_a_superseded_run_has_composed_its_dag_all_the_same(dev):
    dev.served()
    dev.seen(a="B")
    dev.loaded(2, a="B")
    dev.seen(a="C")
    dev.planned(2, "n")
    assert dev.session.composed("a") == {1: 1, 2: 2}


def test_only_the_latest_dags_are_remembered(dev):
    dev.served()
    for number in range(2, 12):
        dev.seen(a=f"A{number}")
        dev.whole_run(number, a=f"A{number}")
    assert dev.session.composed("a") == {number: number for number in range(8, 12)}
