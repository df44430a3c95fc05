"""The final tables and the JSON file."""

import io
import json
import os
from pathlib import Path

import pytest

from dagflow.cli.report import check_report_path, render_report, write_report
from dagflow.errors import DagflowError


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        """Say yes."""
        return True


def node(kind, type, taken, **more):
    """Give a node's row of the report."""
    row = {
        "kind": kind,
        "type": type,
        "taken": taken,
        "done": taken,
        "failed": 0,
        "not_kept": 0,
        "retried": 0,
        "busy": 0,
    }
    return row | {"p50_s": None, "p99_s": None, "metrics": {}} | more


def edge(offered, **more):
    """Give an edge's row of the report."""
    row = {"capacity": 512, "when_full": "block", "offered": offered, "taken": offered, "shed": 0, "expired": 0}
    return row | {"cancelled": 0, "buffered": 0, "max_depth": 12, "shed_reasons": {}} | more


@pytest.fixture
def clean():
    """A run in which all went well."""
    return {
        "pipeline": "five-stage",
        "duration_s": 2.5,
        "accepted": 1000,
        "taken_over": 0,
        "outcomes": {"delivered": 990, "filtered": 10, "shed": 0, "expired": 0, "failed": 0, "cancelled": 0},
        "in_flight": 0,
        "nodes": {
            "questions": node("source", "jsonl", 1000),
            "rag": node("stage", "retrieve", 1000, p50_s=0.00081, p99_s=0.0123),
            "stream": node("sink", "stdout", 990, p50_s=0.00002, p99_s=0.00005),
        },
        "edges": {"questions -> rag": edge(1000), "rag -> stream": edge(990)},
        "sources": {"questions": {"ended": True, "progress": 1.0}},
        "errors": [],
        "unfinished": [],
        "stopped_by": None,
        "exit_code": 0,
    }


@pytest.fixture
def rough(clean):
    """A run in which all went wrong that can."""
    return clean | {
        "duration_s": 31.0,
        "outcomes": {"delivered": 700, "filtered": 0, "shed": 40, "expired": 5, "failed": 230, "cancelled": 25},
        "nodes": {
            "questions": node("source", "jsonl", 1000),
            "inference": node(
                "stage",
                "inference",
                930,
                done=700,
                failed=230,
                not_kept=230,
                retried=12,
                metrics={"input_tokens": 12034},
            ),
        },
        "edges": {
            "questions -> inference": edge(
                1000, taken=930, shed=40, expired=5, cancelled=25, shed_reasons={"drop_oldest": 30, "max_wait": 10}
            ),
            "inference -> audit": edge(700, best_effort={"delivered": 690, "shed": 0, "failed": 10}),
        },
        "sources": {"questions": {"ended": False, "progress": 0.456}, "live": {"ended": False, "progress": None}},
        "errors": [
            {"node": "inference", "code": "bug", "count": 230, "record": "q:17", "message": "KeyError:\n'a'\x1b[2J"}
        ],
        "unfinished": [{"id": f"q:{i}", "where": "inference"} for i in range(25)],
        "stopped_by": "SIGTERM",
        "exit_code": 75,
    }


def printed(report, stream=None):
    """Give what is printed for a report."""
    stream = io.StringIO() if stream is None else stream
    render_report(report, stream)
    return stream.getvalue()


def test_clean_run(clean):
    """All that happened, and no column for what did not."""
    assert (
        printed(clean)
        == """\
five-stage: finished in 2.5s

1,000 accepted (400/s) = 990 delivered + 10 filtered + 0 shed + 0 expired + 0 failed + 0 cancelled

node       type            taken   done  failed  retried    p50     p99
questions  source jsonl    1,000  1,000       0        0      -       -
rag        stage retrieve  1,000  1,000       0        0  810us  12.3ms
stream     sink stdout       990    990       0        0   20us    50us

edge              bound      offered  taken  shed  deepest
questions -> rag  512 block    1,000  1,000     0       12
rag -> stream     512 block      990    990     0       12
"""
    )


def test_rough_run(rough):
    """Losses get their columns and reasons; errors, unfinished records and the exit code follow."""
    head, tail = printed(rough).split("record  was at\n")
    assert (
        head
        == """\
five-stage: stopped by SIGTERM after 31s

1,000 accepted (32.3/s) = 700 delivered + 0 filtered + 40 shed + 5 expired + 230 failed + 25 cancelled

node       type             taken   done  failed  retried  p50  p99
questions  source jsonl     1,000  1,000       0        0    -    -
inference  stage inference    930    700     230       12    -    -

inference: 12,034 input_tokens
questions: 45 % of its input was read

edge                    bound      offered  taken  shed  expired  cancelled  deepest
questions -> inference  512 block    1,000    930    40        5         25       12
inference -> audit      512 block      700    700     0        0          0       12

questions -> inference shed 30 drop_oldest, 10 max_wait
inference -> audit (best effort): 690 delivered, 10 failed

count  failed at  error  for example  which said
  230  inference  bug    q:17         KeyError: 'a'\ufffd[2J

230 failed and not kept; a table `[dead_letters]` keeps them, `on_error = "drop"` says that they are not missed

25 unfinished: cancelled, since the time to drain was over

"""
    )
    assert tail.splitlines() == [
        *(f"q:{i}{' ' * (6 - len(str(i)))}inference" for i in range(20)),
        "",
        "and 5 more",
        "",
        "exit code 75: records were left unfinished, or a source was not read to its end",
    ]


def test_lines_that_could_not_be_read_get_no_hint_that_is_for_stages(clean):
    """A source takes no `on_error`."""
    text = printed(clean | {"nodes": {"questions": node("source", "jsonl", 1000, failed=2, not_kept=2)}})
    assert "\n2 failed and not kept\n" in text
    assert "on_error" not in text


def test_failed_run(clean):
    """What ended the run stands in the first line."""
    text = printed(clean | {"stopped_by": "source `questions`: OSError: disk", "exit_code": 1, "in_flight": 3})
    assert text.startswith("five-stage: failed after 2.5s: source `questions`: OSError: disk\n")
    assert "0 cancelled + 3 in flight\n" in text
    assert text.endswith("exit code 1: the run failed\n")


def test_no_time_passed(clean):
    """A run that accepted nothing in no time has no rate, and divides by nothing."""
    nothing = dict.fromkeys(clean["outcomes"], 0)
    assert "\n0 accepted (-) = 0 delivered + " in printed(
        clean | {"duration_s": 0.0, "accepted": 0, "outcomes": nothing}
    )


def test_terminal_gets_colours(rough, monkeypatch):
    """On a terminal, zeros step back and losses stand out; the words are the same."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = printed(rough, Terminal())
    assert "\x1b[1;31m" in text
    assert "\x1b[2J" not in text
    assert "five-stage: stopped by SIGTERM after 31s\n" in text


def test_pipe_gets_plain_text(rough):
    """Without a terminal there is neither colour nor any character that is not ASCII, save in data."""
    assert "\x1b" not in printed(rough)
    assert printed(rough).replace("\ufffd", "").isascii()


def test_file_is_whole_json(clean, tmp_path):
    """The file holds the report as it is, and nothing else is left in the folder."""
    path = tmp_path / "report.json"
    path.write_text("old")
    write_report(path, clean)
    assert json.loads(path.read_text()) == clean
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"]


def test_file_in_no_folder(clean, tmp_path):
    """The message names the file and the reason."""
    path = tmp_path / "none" / "report.json"
    with pytest.raises(DagflowError) as caught:
        write_report(path, clean)
    assert str(caught.value) == f"the report can't be written to `{path}`: No such file or directory"


def test_failed_write_keeps_the_old_file(clean, tmp_path):
    """A folder in the way of the file stays, and no temporary file does."""
    path = tmp_path / "report.json"
    path.mkdir()
    with pytest.raises(DagflowError, match="can't be written"):
        write_report(path, clean)
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"]


def test_what_is_no_file_is_written_through(clean, tmp_path):
    """A link such as `/dev/stdout` stays a link."""
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    target.write_text("old")
    link.symlink_to(target)
    write_report(link, clean)
    assert link.is_symlink()
    assert json.loads(target.read_text()) == clean
    write_report(Path(os.devnull), clean)
    assert Path(os.devnull).is_char_device()


@pytest.mark.parametrize(
    ("path", "reason"), [("", "it is a folder"), ("no/r.json", "there is no folder"), ("kept/r.json", None)]
)
def test_a_place_that_cannot_take_a_report_is_known_before_the_run(tmp_path, path, reason):
    """Nobody waits for hours to hear it."""
    (tmp_path / "kept").mkdir()
    if reason is None:
        check_report_path(tmp_path / path)
    else:
        with pytest.raises(DagflowError, match=reason):
            check_report_path(tmp_path / path)
    assert list((tmp_path / "kept").iterdir()) == []
