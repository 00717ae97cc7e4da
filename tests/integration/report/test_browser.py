"""The page in a real browser, with the network off: no error, sorting, themes, phone, and accessibility by axe-core."""

from __future__ import annotations

from dataclasses import replace

import pytest

from multiedge.bench.folder import page as bench_page
from multiedge.report import views
from multiedge.report.page import write_report
from tests.builders.bench import bench_row
from tests.builders.browsers import DESK, NEEDED, PHONE, SMALLEST_WORDS, TOO_WIDE, axe_findings, open_browser, screen
from tests.builders.reports import samples

pytestmark = NEEDED


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with open_browser(tmp_path_factory.mktemp("browser")) as driver:
        yield driver


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    failed = [("equal_parameters", "no plan fits: device 'raspberry-pi' needs 1.9 GiB and has 500 MiB")]
    return write_report(
        samples(), tmp_path_factory.mktemp("page") / "report.html", failed=failed, against=samples()[2]
    ).as_uri()


@pytest.fixture(scope="module")
def small_address(tmp_path_factory):
    """Two runs with no graph node by node, hundreds of like squares: axe looks at each element."""
    failed = [("equal_parameters", "no plan fits")]
    path = tmp_path_factory.mktemp("small") / "report.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(views, "GRAPH_CHARACTERS", 0)
        return write_report(samples()[1:5:3], path, failed=failed, against=samples()[2]).as_uri()


@pytest.fixture
def page(browser, address):
    open_offline(browser, address)
    return browser


def open_offline(browser, address):
    browser.set_window_size(1280, 900)
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd(
        "Network.emulateNetworkConditions", {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    )
    browser.get(address)


def header(page, name):
    return page.find_element("css selector", f'#leaderboard th[data-name="{name}"]')


def order(page):
    return [row.text for row in page.find_elements("css selector", "#leaderboard table:first-of-type tbody th a")]


def open_all(page):
    page.execute_script("for (const part of document.querySelectorAll('details')) part.open = true;")


def test_page_loads_without_network_or_console_message(page):
    assert page.find_element("tag name", "h1").text == "Multi-edge inference: results"
    open_all(page)
    assert page.get_log("browser") == []
    loaded = page.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [name for name in loaded if not name.startswith("data:")] == []


def test_sorting_by_a_click_turns_and_tells(page):
    assert order(page)[0] == "exact"
    fps = header(page, "fps")
    fps.find_element("tag name", "button").click()
    assert fps.get_attribute("aria-sort") == "descending"
    assert order(page) == ["exact", "exact with a fault", "manual", "equal_flops", "single"]
    fps.find_element("tag name", "button").click()
    assert fps.get_attribute("aria-sort") == "ascending"
    assert order(page)[0] == "single"
    assert page.find_element("id", "status").get_attribute("textContent") == "sorted by fps, ascending"
    assert len(page.find_elements("css selector", "[aria-sort]")) == 1


def test_the_leaderboard_fits_1400_pixels(page):
    page.set_window_size(1400, 900)
    open_all(page)
    region = page.find_element("css selector", "#leaderboard .scroll")
    assert region.get_property("scrollWidth") <= region.get_property("clientWidth")


def repeated(figure):
    return replace(figure, interval=(0.7 * figure.value, 1.3 * figure.value)) if figure.value else figure


def test_figures_with_intervals_fit_too(browser, tmp_path):
    runs = [replace(run, results={name: repeated(figure) for name, figure in run.results.items()}) for run in samples()]
    open_offline(browser, write_report(runs, tmp_path / "report.html").as_uri())
    with screen(browser, DESK):
        assert browser.execute_script(TOO_WIDE) == []


def test_the_name_of_a_run_stays_in_sight_when_its_row_is_scrolled(page):
    page.set_window_size(760, 900)
    region = page.find_element("css selector", "#leaderboard .scroll")
    page.execute_script("arguments[0].scrollLeft = 400", region)
    name = region.find_element("css selector", "tbody th")
    assert page.execute_script("return arguments[0].getBoundingClientRect().left", name) >= 0


def test_sorting_by_keyboard(page):
    from selenium.webdriver.common.keys import Keys

    button = header(page, "energy per item").find_element("tag name", "button")
    button.send_keys(Keys.ENTER)
    assert order(page)[0] == "single"


def test_words_sort_too_and_missing_figures_stay_last(page):
    header(page, "run").find_element("tag name", "button").click()
    assert order(page) == sorted(order(page))
    gap = header(page, "plan gap")
    for _ in range(2):
        gap.find_element("tag name", "button").click()
        assert order(page)[-1] == "manual"  # its plan proves no bound


def test_link_to_a_run_opens_it(page):
    assert not page.find_element("id", "run-4").get_property("open")
    page.find_element("css selector", 'a[href="#run-4"]').click()
    assert page.find_element("id", "run-4").get_property("open")


def test_theme_can_be_turned(page):
    background = "return getComputedStyle(document.body).backgroundColor"
    before = page.execute_script(background)
    page.find_element("id", "theme").click()
    assert page.execute_script(background) != before
    page.find_element("id", "theme").click()
    assert page.execute_script(background) == before


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_nothing_sticks_out_and_the_words_of_charts_are_readable(page, width):
    with screen(page, width):
        open_all(page)
        assert page.execute_script(TOO_WIDE) == []
        assert page.execute_script(SMALLEST_WORDS) >= 10.9


def test_rows_can_be_sorted_on_a_phone(page):
    with screen(page, PHONE):
        header(page, "energy per item").find_element("tag name", "button").click()
        assert order(page)[0] == "single"


@pytest.fixture(scope="module")
def bench_address(tmp_path_factory):
    """The page of `multiedge bench`, with a strategy that was refused."""
    rows = [bench_row(name, cost, model=model) for model in "mn" for name, cost in (("exact", 1.0), ("random", 2.0))]
    path = tmp_path_factory.mktemp("bench") / "report.html"
    path.write_text(bench_page([*rows, bench_row("single")]), encoding="utf-8")
    return path.as_uri()


@pytest.mark.parametrize(("width", "scrolled"), [(PHONE, ["Picture of the strategies"]), (DESK, [])])
def test_only_the_picture_of_the_page_of_bench_is_wider_than_a_phone(browser, bench_address, width, scrolled):
    open_offline(browser, bench_address)
    with screen(browser, width):
        open_all(browser)
        assert browser.execute_script(TOO_WIDE) == scrolled


@pytest.mark.parametrize(("scheme", "width"), [("light", PHONE), ("dark", DESK)])
@pytest.mark.parametrize("kind", ["small_address", "bench_address"])
def test_axe_finds_nothing(browser, request, kind, scheme, width):
    page, small_address = browser, request.getfixturevalue(kind)
    open_offline(page, small_address)
    with screen(page, width, scheme):
        open_all(page)
        assert axe_findings(page) == []
