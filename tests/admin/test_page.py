"""The live page in a browser without a window, against a pipeline that runs."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import time
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from listening import admin_at
from rigs import Flow, FunctionStage, ListSink

from dagflow.admin.beacon import read_beacon
from dagflow.admin.listener import serving
from dagflow.errors import RecordError
from dagflow.graph.plan import DeadLettersPlan
from dagflow.plugin import Source
from dagflow.record import Record

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")

ATTACK = '<img src=x onerror="window.attacked=1"><script>window.attacked=1</script>'


class Live(Source):
    """Hands in four records with contents that attack, then a few every moment."""

    finite = False

    async def records(self):
        """Give records as long as it is asked."""
        number = 0
        while True:
            yield Record({"n": number, "text": ATTACK}, f"{number}{ATTACK}")
            number += 1
            await asyncio.sleep(0.02 if number > 4 else 0)


class Shop:
    """A pipeline of which the first records fail until it is mended, on a loop in a thread of its own."""

    def __init__(self, folder):
        self.mended = False
        self.sink = ListSink()
        plugins = {"in": Live(), "work": FunctionStage(self.work), "slow": FunctionStage(slow), "out": self.sink}
        self.flow = Flow(
            plugins,
            ["in -> work", "work -> slow", "slow -> out"],
            {"slow": {"concurrency": 4}},
            dead_letters=DeadLettersPlan(folder / "letters.db"),
            admin=admin_at(folder),
        )
        self.flow.plan.nodes["out"] = of_a_class(self.flow.plan.nodes["out"], ListSink)
        object.__setattr__(self.flow.plan, "name", f"shop {ATTACK}")
        self.token_file = folder / "admin.json"

    async def work(self, record):
        """Fail for the first records until mended."""
        if not self.mended and record["n"] < 4:
            raise RecordError(f"broken {ATTACK}")
        return record

    def start(self, portal):
        """Run until `stop`; gives the address with the token, and the token."""
        self.engine = portal.call(make, self.flow)
        self.run = portal.start_task_soon(self._run)
        while not self.token_file.exists() or not self.engine.started.is_set():
            assert not self.run.done(), self.run.result()
        beacon = read_beacon(self.token_file)
        return beacon.address, beacon.token

    async def _run(self):
        async with serving(self.engine):
            await self.engine.run()

    def stop(self, portal):
        """End the run."""
        if not self.run.done():
            portal.call(self.engine.stop, "test")
        self.run.result(10)


async def make(flow):
    """Make an engine where its loop runs."""
    return flow.engine()


def of_a_class(node, cls):
    """A node plan whose class is one, as it is of a file, and gives the plugin that is there."""
    from dataclasses import replace

    plugin = node.build()
    return replace(node, cls=type("Same", (cls,), {"__new__": lambda _cls, _options: plugin}))


async def slow(record):
    """Take a moment."""
    await asyncio.sleep(0.01)
    return record


@pytest.fixture(scope="module")
def browser():
    """One browser for all tests."""
    with sync_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def shop(tmp_path):
    """A pipeline that runs while the test does."""
    one = Shop(tmp_path)
    with start_blocking_portal() as portal:
        one.address, one.token = one.start(portal)
        one.portal = portal
        yield one
        one.stop(portal)


class Visit:
    """A page that was opened, and what it complained of and asked for."""

    def __init__(self, browser, shop, width=1280, height=900, fragment=None, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        self.page = context.new_page()
        self.page.set_default_timeout(10_000)
        self.complaints, self.asked = [], []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(f"{shop.address}/" + (f"#token={shop.token}" if fragment is None else fragment))

    def wait(self, condition):
        """Wait until an expression holds in the page; `wait_for_function` would be against the page's policy."""
        deadline = time.monotonic() + 10
        while not self.page.evaluate(condition):
            assert time.monotonic() < deadline, f"{condition}\n{self.text('body')}"
            self.page.wait_for_timeout(20)

    def text(self, selector):
        """The text of an element."""
        return self.page.text_content(selector)

    @property
    def is_dark(self):
        """Whether the ground of the page is."""
        ground = self.page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", ground))) < 200

    def picture(self, name):
        """Keep a picture, if somebody wants to look."""
        folder = os.environ.get("DAGFLOW_SCREENSHOTS")
        if folder:
            whole = not self.page.evaluate("document.querySelector('#dialog').open")
            self.page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=whole)


@pytest.fixture
def visit(browser, shop):
    """Open the page; at the end, nothing may have been against its policy, and no attack may have come through."""
    visits = []

    def open_page(**options):
        visits.append(Visit(browser, shop, **options))
        return visits[-1]

    yield open_page
    for one in visits:
        assert [text for text in one.complaints if "Failed to load resource" not in text] == []
        assert one.page.evaluate("window.attacked") is None
        assert not [url for url in one.asked if shop.token in url or not url.startswith((shop.address, "data:"))]
        one.page.context.close()


READY = "document.querySelector('#nodes tbody tr') && document.querySelectorAll('#letters tbody tr').length == 4"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_shows_what_the_pipeline_does(visit, scheme):
    """Figures, the graph, charts, tables and dead letters have the numbers of the run."""
    one = visit(color_scheme=scheme)
    one.wait(READY)
    one.wait("/^[1-9].*[/]s$/.test(document.querySelector('[data-edge=\"slow -> out\"] .rate').textContent)")
    assert one.text("#state") == "running, ready"
    assert one.text("#pipeline") == f"shop {ATTACK}"
    assert [row.split()[0] for row in one.page.locator("#nodes tbody th").all_inner_texts()] == [
        "in",
        "work",
        "slow",
        "out",
    ]
    assert one.text('[data-node="slow"] .live').startswith(("0/4 busy", "1/4 busy"))
    assert one.text('[data-edge="in -> work"] .live.depth').endswith("/ 512")
    assert re.search(r"now [\d.]+/s", one.page.get_attribute("#charts svg", "aria-label"))
    assert "4" in one.page.locator(".figure", has_text="Dead letters").inner_text()
    assert one.page.title().startswith("shop")
    assert one.is_dark is (scheme == "dark")
    one.picture(scheme)


def test_the_token_leaves_the_address(visit, shop):
    """It is taken out of the fragment, and stays in this tab only."""
    one = visit()
    one.wait(READY)
    assert one.page.url == f"{shop.address}/"
    one.page.reload()
    one.wait(READY)


def test_without_a_token_it_asks_for_one(visit, shop):
    """A wrong one is refused; the right one opens the page."""
    one = visit(fragment="")
    assert one.page.is_visible("#entrance")
    assert one.page.evaluate("document.activeElement.id") == "token"
    for token in ("wrong", shop.token):
        one.page.fill("#token", token)
        one.page.keyboard.press("Enter")
        if token == "wrong":
            one.wait("document.querySelector('#notice').textContent.includes('does not know this token')")
            one.picture("token")
    one.wait(READY)


def test_it_fits_a_telephone(visit):
    """At 360 pixels nothing is wider than the screen, the open dialog included."""
    one = visit(width=360, height=740)
    one.wait(READY)
    fits = "document.documentElement.scrollWidth <= 360"
    assert one.page.evaluate(fits)
    one.picture("phone")
    one.page.locator("#letters button", has_text="Show").first.click()
    one.page.locator("#dialog button", has_text="contents").click()
    one.wait("document.querySelectorAll('#dialog pre').length == 3")
    assert one.page.evaluate(fits)
    assert one.page.evaluate("document.querySelector('#dialog').getBoundingClientRect().right <= 360")
    one.picture("phone-dialog")


def test_the_keyboard_reaches_everything(visit):
    """By the tabulator alone, each control gets the focus, and shows it; the first leads past the head of the page."""
    one = visit()
    one.wait(READY)
    one.page.evaluate("for (const e of document.querySelectorAll('*')) e.style.transition = 'none'")
    controls = "a[href], button, input, select, [tabindex='0']"
    one.page.evaluate("window.reached = new Set(); window.dim = []")
    wanted = one.page.evaluate(
        f'[...document.querySelectorAll("{controls}")].filter((e) => e.checkVisibility() && !e.disabled).length'
    )
    one.page.keyboard.press("Tab")
    assert one.page.evaluate("document.activeElement.className") == "skip"
    for _ in range(wanted + 5):
        one.page.evaluate(
            "() => { const e = document.activeElement; if (e === document.body) return; reached.add(e); "
            "if (getComputedStyle(e).outlineStyle === 'none') dim.push(e.outerHTML) }"
        )
        one.page.keyboard.press("Tab")
    assert one.page.evaluate("reached.size") == wanted
    assert one.page.evaluate("dim") == []


def test_what_records_hold_is_hidden_until_asked_for_and_stays_text(visit):
    """Names, ids, messages and contents that look like HTML are shown as they are."""
    one = visit()
    one.wait(READY)
    assert ATTACK in one.text("#letters tbody tr")
    one.page.locator("#letters button", has_text="Show").first.click()
    assert '"text"' not in one.text("#dialog")
    one.page.locator("#dialog button", has_text="contents").click()
    one.wait("document.querySelectorAll('#dialog pre').length == 3")
    assert "<img src=x" in one.text("#dialog pre")
    one.picture("letter")
    assert one.page.evaluate("document.querySelectorAll('img, script:not([src])').length") == 0
    one.page.keyboard.press("Escape")
    one.wait("!document.querySelector('#dialog').open")


def test_replay_from_the_page(visit, shop):
    """By the keyboard: letters are chosen, a question is answered, and the records come through."""
    one = visit()
    one.wait(READY)
    shop.mended = True
    one.page.focus("#letters tbody input")
    one.page.keyboard.press("Space")
    assert "1 chosen" in one.text("#letters .actions")
    one.page.locator("#letters button", has_text="Replay 1").focus()
    one.page.keyboard.press("Enter")
    assert one.page.evaluate("document.activeElement.textContent") == "Cancel"
    one.picture("question")
    one.page.keyboard.press("Tab")
    one.page.keyboard.press("Enter")
    one.wait("document.querySelector('.progress').textContent.includes('is over: 1 of 1 sent in, 1 delivered')")
    one.wait("document.querySelectorAll('#letters tbody tr').length == 3")
    assert len([id for id in shop.sink.ids if id == f"3{ATTACK}"]) == 1


def test_purge_asks_first(visit, shop):
    """The harmless answer has the focus and changes nothing; the other removes all."""
    one = visit()
    one.wait(READY)
    one.page.locator("#letters button", has_text="Purge all").click()
    one.page.keyboard.press("Enter")
    one.wait("!document.querySelector('#dialog').open")
    assert shop.engine.wiring.letters.in_store == 4
    one.page.locator("#letters button", has_text="Purge all").click()
    one.page.locator("#dialog button", has_text="Purge").click()
    one.wait("document.querySelector('#letters .actions').textContent.includes('4 dead letters purged')")
    assert shop.engine.wiring.letters.in_store == 0


def test_it_says_when_nobody_answers(visit, shop):
    """What was read stays, and the page says that it is old."""
    one = visit()
    one.wait(READY)
    shop.stop(shop.portal)
    one.wait("document.querySelector('#notice').textContent.startsWith('Connection lost')")
    assert one.text("#state") == "not connected"
    assert one.page.is_visible("#nodes-panel")
    one.picture("lost")


def test_nothing_moves_where_that_is_not_wanted(visit):
    """With reduced motion, the flow is still drawn, and stands."""
    for motion, name in (("reduce", "none"), ("no-preference", "along")):
        one = visit(reduced_motion=motion)
        one.wait("document.querySelector('.flows .flow')")
        assert one.page.evaluate("getComputedStyle(document.querySelector('.flows .flow')).animationName") == name


def test_the_theme_is_switched_and_kept(visit):
    """The button goes through system, light and dark; the choice outlives the page."""
    one = visit(color_scheme="light")
    one.wait(READY)
    for words in ("Theme: light", "Theme: dark"):
        one.page.click("#theme")
        assert one.text("#theme") == words
    one.page.reload()
    one.wait(READY)
    assert one.is_dark
