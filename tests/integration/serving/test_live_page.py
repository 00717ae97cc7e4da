"""The live page in a real browser: a hub over TLS, nodes without workers, and a run that reports."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("cryptography")

from multiedge.network.identity import parse_address
from multiedge.network.records import HeldStage, LinkState, NodeState
from tests.builders.browsers import DESK, NEEDED, PHONE, SMALLEST_WORDS, TOO_WIDE, axe_findings, open_browser, screen
from tests.builders.hubs import FakeNode, TestHub, proxied, running_hub
from tests.builders.reports_of_runs import fault, report

pytestmark = NEEDED


@dataclass
class Stage:
    """A hub with three nodes and a run, and a browser that watches it."""

    hub: TestHub
    nodes: dict[str, FakeNode]
    browser: Any

    def run_reports(self, second: int, **other: Any) -> None:
        self.hub.client().report(report(float(second), 50 * second, **other))

    def text(self, selector: str) -> str:
        return str(self.browser.find_element("css selector", selector).text)

    def within(self, seconds: float, is_so: Callable[[], bool]) -> float:
        """How long it took until it was so; an error if it took longer."""
        began_s = time.monotonic()
        while time.monotonic() - began_s < seconds:
            if is_so():
                return time.monotonic() - began_s
            time.sleep(0.02)
        raise AssertionError(f"not within {seconds} s: {self.text('main')}")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with ExitStack() as stack:
        hub = stack.enter_context(running_hub(tmp_path_factory.mktemp("hub")))
        nodes = {}
        for name in "abc":
            others = tuple(LinkState(other, 1e6, 0.001) for other in "abc" if other != name)
            held = (HeldStage("squeezenet", 0),)
            state = NodeState(name, "127.0.0.1:1", 8 << 30, 6 << 30, load=0.4, stages=held, links=others)
            nodes[name] = stack.enter_context(FakeNode(hub.node(name), state))
        host, port = stack.enter_context(proxied(hub))
        resolver = "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
        browser = stack.enter_context(open_browser(tmp_path_factory.mktemp("browser"), resolver))
        browser.get(f"http://{host}:{port}/live")
        yield Stage(hub, nodes, browser)


def test_the_page_shows_devices_and_a_run_as_they_come(watched: Stage) -> None:
    watched.within(5.0, lambda: watched.text("#connection") == "live")
    assert [each.text for each in watched.browser.find_elements("css selector", "#device-list h3")] == ["a", "b", "c"]
    for second in (1, 2, 3):
        watched.run_reports(second)
    watched.within(2.0, lambda: "50 items/s" in watched.text("#tiles").replace("\n", " "))
    stages = [each.text for each in watched.browser.find_elements("css selector", "#pipeline-list .stage b")]
    assert stages == ["admin", "a", "b", "admin"]
    assert "a → b" in watched.text("#link-list")
    assert watched.browser.get_log("browser") == []


def test_a_fault_of_a_run_is_shown_as_it_happens(watched: Stage) -> None:
    watched.run_reports(4, faults=(fault(at_s=time.time()),), fault_counts={"ended": 1})
    watched.within(2.0, lambda: "worker of 'b' ended" in watched.text("#fault-list"))
    watched.run_reports(5, faults=(fault(at_s=time.time(), after_s=0.8),), fault_counts={"ended": 1})
    watched.within(2.0, lambda: "recovered after 800 ms" in watched.text("#fault-list"))


def test_a_node_that_was_killed_is_shown_within_two_seconds_without_a_reload(watched: Stage) -> None:
    loaded = watched.browser.execute_script("return performance.timeOrigin")
    watched.nodes["c"].__exit__()
    # Two seconds at most, and one for a machine that runs other tests meanwhile.
    watched.within(3.0, lambda: "lost" in watched.text("#device-list article:nth-child(3)"))
    watched.within(1.0, lambda: "'c' sends no heartbeats" in watched.text("#fault-list"))
    assert watched.browser.execute_script("return performance.timeOrigin") == loaded


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_nothing_sticks_out_and_the_words_of_curves_are_readable(watched: Stage, width: int) -> None:
    with screen(watched.browser, width):
        watched.within(2.0, lambda: watched.browser.execute_script(TOO_WIDE) == [])
        watched.within(2.0, lambda: watched.browser.execute_script(SMALLEST_WORDS) >= 10.9)


@pytest.mark.parametrize(("width", "scheme"), [(PHONE, "light"), (DESK, "dark")])
def test_axe_finds_nothing(watched: Stage, width: int, scheme: str) -> None:
    with screen(watched.browser, width, scheme):
        assert axe_findings(watched.browser) == []


def test_the_page_connects_again_by_itself_after_the_hub_was_away(tmp_path: Path, watched: Stage) -> None:
    def shows(*expected: object) -> bool:
        script = "return [document.querySelector('#connection').textContent, document.querySelector('#away').hidden]"
        return bool(watched.browser.execute_script(script) == list(expected))

    with ExitStack() as stack:
        with running_hub(tmp_path / "hub") as hub:
            host, port = stack.enter_context(proxied(hub))
            watched.browser.get(f"http://{host}:{port}/live")
            watched.within(5.0, lambda: shows("live", True))
        watched.within(5.0, lambda: shows("reconnecting", False))
        stack.enter_context(running_hub(tmp_path / "hub", port=parse_address(hub.address)[1]))
        watched.within(5.0, lambda: shows("live", True))
