"""Every pipeline that ships validates, runs, and ends as its comment says."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import openai
import pytest

ROOT = Path(__file__).parents[2]
PIPELINES = sorted(path.name for path in (ROOT / "pipelines").glob("*.toml"))


def dagflow(*arguments, stdin="", code=0):
    """Run the command in the repository, check its exit code, and give what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "dagflow", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout


def run(name, tmp_path, stdin="", code=0):
    """Run a pipeline; give its report and the lines it printed."""
    report = tmp_path / "report.json"
    output = dagflow("run", name, "--report", report, stdin=stdin, code=code)
    content = json.loads(report.read_text())
    assert content["accepted"] == sum(content["outcomes"].values())
    assert content["in_flight"] == 0
    return content, output.splitlines()


def outcomes(report):
    """The outcomes that occurred."""
    return {name: count for name, count in report["outcomes"].items() if count}


@pytest.mark.parametrize("name", PIPELINES)
def test_it_opens_with_a_comment_and_validates_without_a_warning(name):
    """A reader learns first what it shows and how to run it."""
    path = ROOT / "pipelines" / name
    text = path.read_text()
    assert text.startswith("# ")
    assert f"pipelines/{name}" in text.split("\n\n", 1)[0]
    found = json.loads(dagflow("validate", path, "--format", "json"))
    assert found == []


def test_there_is_a_test_for_each():
    """No pipeline ships without a test of what it does."""
    tested = {name.removeprefix("test_runs_").replace("_", "-") + ".toml" for name in globals() if "test_runs_" in name}
    assert set(PIPELINES) <= tested | {"example.toml"}


def test_runs_routing(tmp_path):
    """Half of the questions go to the large model, half to the small one."""
    report, lines = run("pipelines/routing.toml", tmp_path)
    assert outcomes(report) == {"delivered": 60}
    assert report["nodes"]["large"]["done"] == 30
    assert report["nodes"]["small"]["done"] == 30
    assert len(lines) == 60


def test_runs_overload(tmp_path):
    """What is shed is counted by reason, and the important records are not among it."""
    report, _ = run("pipelines/overload.toml", tmp_path)
    assert report["accepted"] == 1000
    assert report["outcomes"]["shed"] > 300
    edge = report["edges"]["requests -> slow"]
    assert edge["shed"] == report["outcomes"]["shed"] == sum(edge["shed_reasons"].values())
    assert edge["max_depth"] <= 32


def test_runs_failures(tmp_path):
    """Every record is delivered: as an answer, or as an error line with a reason."""
    report, lines = run("pipelines/failures.toml", tmp_path)
    assert outcomes(report) == {"delivered": 200}
    rows = [json.loads(line) for line in lines]
    failed = [row for row in rows if "reason" in row]
    assert len(rows) == 200
    assert len(failed) == report["nodes"]["flaky"]["failed"] == 4
    assert {row["reason"] for row in failed} == {"worker-unavailable at flaky, attempt 3"}


def test_runs_dead_letters(tmp_path):
    """What failed is kept, and mended, and comes through; the output is that of a run without failures."""
    name, store = "pipelines/dead-letters.toml", ("--set", f"dead_letters.path={tmp_path}/letters.db")
    mended = (*store, "--set", "stages.flaky.rate=0.0")
    clean = dagflow("run", name, *mended).splitlines()
    output = dagflow("run", name, *store, code=65).splitlines()
    assert (len(clean), len(output)) == (200, 186)
    assert len(json.loads(dagflow("dlq", "list", name, *store, "--format", "json"))) == 14
    output += dagflow("dlq", "replay", name, *mended).splitlines()
    assert sorted(output) == sorted(clean)
    assert dagflow("dlq", "list", name, *store) == "no dead letters\n"


def test_runs_shadow(tmp_path):
    """The shadow branch fails or sheds all it gets; the records are delivered all the same."""
    report, lines = run("pipelines/shadow.toml", tmp_path)
    shadow = report["edges"]["answer -> candidate"]["best_effort"]
    assert outcomes(report) == {"delivered": len(lines)}
    assert shadow["failed"] + shadow["shed"] == len(lines)
    assert shadow["delivered"] == 0


def test_runs_openai_batch(tmp_path):
    """Three lines are answered in OpenAI's format; the broken one fails with its line number."""
    report, lines = run("pipelines/openai-batch.toml", tmp_path, code=65)
    assert outcomes(report) == {"delivered": 3, "failed": 1}
    answers = {row["custom_id"]: row["response"]["body"]["choices"][0] for row in map(json.loads, lines)}
    assert answers["short"] == {
        "index": 0,
        "message": {"role": "assistant", "content": "Say five words"},
        "logprobs": None,
        "finish_reason": "length",
    }
    assert answers["parts"]["message"]["content"] == "Parts are joined."
    assert report["errors"][0]["message"].startswith("batch.jsonl:3: ")


def test_runs_filter(tmp_path):
    """Spam is filtered, and the address does not reach the output."""
    stdin = '{"input": "Write to ann@example.org"}\n{"input": "Buy now", "spam": true}\n'
    report, lines = run("pipelines/filter.toml", tmp_path, stdin=stdin)
    assert outcomes(report) == {"delivered": 1, "filtered": 1}
    assert [json.loads(line)["text"] for line in lines] == ["Write to [email]"]


def test_runs_example(tmp_path):
    """The example answers every question with sentences of the guides and their sources."""
    report, lines = run("pipeline.example.toml", tmp_path)
    questions = (ROOT / "pipelines" / "questions.jsonl").read_text().splitlines()
    assert len(questions) >= 50
    assert outcomes(report) == {"delivered": len(questions)}
    answers = [line for line in lines if line.startswith("A: ")]
    unanswered = [answer for answer in answers if "Nothing in the context" in answer]
    assert len(answers) == len(questions)
    assert len(unanswered) <= len(questions) // 10


def test_the_example_echoes_with_one_line_changed(tmp_path):
    """Another worker is a matter of one line."""
    output = dagflow("run", "pipeline.example.toml", "--set", "workers.main.type=echo")
    assert output.count("Question: ") >= 50


def test_runs_join(tmp_path):
    """Each question was looked up in both places, and is answered once."""
    report, lines = run("pipelines/join.toml", tmp_path)
    assert outcomes(report) == {"delivered": 82}
    assert report["nodes"]["assemble"]["taken"] == 164
    assert report["nodes"]["assemble"]["join"]["joined"] == 82
    questions = [line for line in lines if line.endswith(" + 1)")]
    assert len(questions) > 40


def test_runs_race(tmp_path):
    """The quick worker wins each race, and each answer of the slow one comes too late."""
    report, lines = run("pipelines/race.toml", tmp_path)
    assert outcomes(report) == {"delivered": 12}
    assert len(lines) == 12
    assert all(line.startswith("extractive: ") for line in lines)
    assert report["nodes"]["first"]["join"] == {
        "joined": 12,
        "partial": 0,
        "incomplete": 0,
        "timed_out": 0,
        "late": 12,
        "waiting": 0,
    }


def test_runs_sessions(tmp_path):
    """The numbers of each session come in their order, and sessions in parallel."""
    report, lines = run("pipelines/sessions.toml", tmp_path)
    assert outcomes(report) == {"delivered": 200}
    numbers: dict[str, list[int]] = {}
    for line in lines:
        session, number = line.split()
        numbers.setdefault(session, []).append(int(number))
    assert len(numbers) == 20
    assert all(of_session == sorted(of_session) for of_session in numbers.values())
    assert [int(line.split()[1]) for line in lines] != list(range(200))


def test_runs_priorities(tmp_path):
    """The important records all come through, and before the others that wait with them."""
    report, lines = run("pipelines/priorities.toml", tmp_path)
    assert report["outcomes"]["shed"] > 200
    assert report["outcomes"]["delivered"] == len(lines)
    assert lines.count("2") == 51
    assert lines[1:51] == ["2"] * 50


def test_runs_pool(tmp_path):
    """All is delivered: what the flaky member fails goes to the spare, and its breaker opens."""
    report, lines = run("pipelines/pool.toml", tmp_path)
    assert outcomes(report) == {"delivered": 200}
    workers = report["workers"]
    assert workers["spare"]["calls"] == workers["flaky"]["errors"]["unavailable"] > 0
    assert workers["flaky"]["breaker"]["opened"] > 0
    assert workers["spare"]["cost"] > 0
    assert sum(workers[name]["answered"] for name in ("steady", "quick", "flaky", "spare")) == len(lines) == 200
    assert {line.rsplit("(")[-1] for line in lines} >= {"steady)", "quick)", "spare)"}


def test_runs_service(tmp_path):
    """A service of its own process, asked by a client as anybody would; a signal drains it."""
    token, report = tmp_path / "admin.json", tmp_path / "report.json"
    ports = ["--set", "sources.api.listen=127.0.0.1:0", "--set", "admin.listen=127.0.0.1:0"]
    ports += ["--set", f"admin.token_file={token}", "--set", "logging.format=json", "--report", str(report)]
    command = [sys.executable, "-m", "dagflow", "run", "-q", "pipelines/service.toml", *ports]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        try:
            told = (json.loads(line) for line in process.stderr)
            url = next(t["address"] for t in told if t["event"] == "listening" and t.get("node") == "api")
            with openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client:
                names = [model.id for model in client.models.list()]
                messages = [{"role": "user", "content": "Write to jane@example.com"}]
                quick = client.chat.completions.create(model="quick", messages=messages)
                careful = client.chat.completions.create(model="careful", messages=messages, stream=True)
                parts = [chunk.choices[0].delta.content or "" for chunk in careful]
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert names == ["quick", "careful"]
    assert quick.choices[0].message.content == "".join(parts)
    assert "jane" not in quick.choices[0].message.content
    assert len(parts) > 1
    assert outcomes(json.loads(report.read_text())) == {"delivered": 2}
    assert not token.exists()
