"""SIGHUP has a running service read its file again."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import urllib.request

import pytest
from peers.processes import wait_until

TEXT = """
[pipeline]
name = "service"
edges = [{{ from = "api", to = "mark" }}, {{ from = "mark", to = "answer" }}]
[sources.api]
type = "http"
listen = "127.0.0.1:0"
[stages.mark]
type = "set"
fields = {{ plan = "'{name}'" }}
[sinks.answer]
type = "reply"
[admin]
listen = "127.0.0.1:0"
token_file = "token.json"
[logging]
format = "json"
"""


class Service:
    """`dagflow run` with a file, in a folder of its own."""

    def __init__(self, folder, **started):
        self.folder = folder
        self.write("old")
        command = [sys.executable, "-m", "dagflow", "run", "service.toml", "--report", "report.json"]
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, cwd=folder, stderr=log, **{"stdin": subprocess.DEVNULL, **started})
        wait_until(lambda: self.told("listening") and (folder / "token.json").exists())

    def write(self, name, *changes):
        """Write the file anew."""
        text = TEXT.format(name=name)
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (self.folder / "service.toml").write_text(text)

    def told(self, event):
        """The lines of the log that tell of something."""
        lines = (self.folder / "log").read_text().splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in found if line["event"].startswith(event)]

    def reload(self, event):
        """Send the signal, and wait for what it leads to."""
        before = len(self.told(event))
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(self.told(event)) > before)
        return self.told(event)[-1]

    def ask(self):
        """Hand a record in; gives the name of the plan that answers."""
        [listening] = self.told("listening")
        body, headers = json.dumps({"input": "a"}).encode(), {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{listening['address']}/v1/records", body, headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)["record"]["plan"]

    def look(self, path):
        """Ask the admin listener."""
        beacon = json.loads((self.folder / "token.json").read_text())
        request = urllib.request.Request(
            beacon["address"] + path, headers={"Authorization": f"Bearer {beacon['token']}"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read().decode()

    def end(self):
        """End it; gives its report."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=20) == 0
        return json.loads((self.folder / "report.json").read_text())


@pytest.fixture
def service(tmp_path):
    """A service that runs."""
    service = Service(tmp_path)
    yield service
    service.process.kill()
    service.process.wait()


def test_a_file_that_has_changed(service):
    """Takes over; what is told of the run goes on from what was told before."""
    assert service.ask() == "old"
    service.write("new")
    service.reload("reloaded")
    assert service.ask() == "new"
    status = json.loads(service.look("/status"))
    assert (status["accepted"], status["replaced"], status["state"]) == (2, 1, "running")
    assert "dagflow_records_accepted_total 2.0" in service.look("/metrics")
    service.write(
        "newer",
        ("[stages.mark]", '[stages.more]\ntype = "set"\nfields = { more = "1" }\n[stages.mark]'),
        ('{ from = "mark", to = "answer" }', '{ from = "mark", to = "more" }, { from = "more", to = "answer" }'),
    )
    service.reload("reloaded")
    assert service.ask() == "newer"
    assert '"more"' in service.look("/graph")
    report = service.end()
    assert (report["outcomes"]["delivered"], report["replaced"]) == (3, 2)


def test_a_file_that_is_wrong(service):
    """Changes nothing; where it is wrong stands in the log, and the next one may take over."""
    service.write("new", ('type = "set"', 'type = "sett"'))
    told = service.reload("not reloaded")
    assert told["code"] == "invalid-file"
    assert "service.toml:9: " in told["error"]
    assert service.ask() == "old"
    service.write("new", ("fields = ", "reads = "))
    service.reload("not reloaded")
    service.write(
        "new",
        ("[admin]", '[sources.lines]\ntype = "stdin"\n[admin]'),
        ("edges = [", 'edges = [{ from = "lines", to = "mark" }, '),
    )
    service.reload("not reloaded")
    (service.folder / "service.toml").unlink()
    service.reload("not reloaded")
    service.write("new")
    service.reload("reloaded")
    assert service.ask() == "new"
    service.end()


@pytest.mark.parametrize("outlives", [False, True])
def test_a_terminal_that_is_closed(tmp_path, outlives):
    """Drains: that is no wish for another plan; unless it was started with `nohup`."""
    master, slave = pty.openpty()

    def own_the_terminal():
        os.setsid()
        os.close(os.open(os.ttyname(slave), os.O_RDWR))  # makes it the controlling one
        signal.signal(signal.SIGHUP, signal.SIG_IGN if outlives else signal.SIG_DFL)

    service = Service(tmp_path, stdin=slave, preexec_fn=own_the_terminal)
    os.close(slave)
    service.write("new")
    service.reload("reloaded")  # a wish that comes while the terminal is there
    assert service.ask() == "new"
    os.close(master)
    if outlives:
        service.write("newer")
        seen = len(service.told("reloaded"))

        def reloaded():
            service.process.send_signal(signal.SIGHUP)  # one may come together with that of the terminal
            return len(service.told("reloaded")) > seen

        wait_until(reloaded)
        assert service.ask() == "newer"
        service.end()
    else:
        assert service.process.wait(timeout=20) == 0
        assert json.loads((tmp_path / "report.json").read_text())["stopped_by"] == "SIGHUP"
