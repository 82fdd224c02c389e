"""The dashboard as its readers meet it: the real server, the real embedded store, a real headless Chromium.

Pictures of every page are left in the test's temporary directory; TIEOUT_SCREENSHOTS names another one to keep them.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from dashboard.launch import run
from sinks.migrate import migrate
from tests.dashboard import cases
from tests.fixtures_store import StoreProcess

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WALK_S = 25
FILTERING_S = 12
START_S = 60
PATIENCE_MS = 30_000
SIZES = {"small": (1280, 800), "large": (1600, 1000)}


class Dashboard:
    """A dashboard process over one store, ended by its own pid."""

    def __init__(self, store_url: str, log: Path):
        self.launch = run(port=_free_port(), store_url=store_url)
        self._log = log.open("wb")
        self._child = subprocess.Popen(self.launch.command, env=self.launch.env, stdout=self._log, stderr=self._log)
        self.url = self.launch.url
        self.log = log
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            assert self._child.poll() is None, self.log.read_text()
            try:
                with urllib.request.urlopen(self.launch.health_url, timeout=1):
                    return
            except OSError:
                time.sleep(0.1)
        raise TimeoutError(f"no dashboard at {self.url} within {START_S} s: {self.log.read_text()}")

    def stop(self) -> None:
        self._child.send_signal(signal.SIGTERM)
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._log.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def start_dashboard(tmp_path: Path) -> Iterator[Callable[[str], Dashboard]]:
    started: list[Dashboard] = []

    def start(store_url: str) -> Dashboard:
        started.append(Dashboard(store_url, tmp_path / "dashboard.log"))
        return started[-1]

    yield start
    for dashboard in started:
        dashboard.stop()


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """A dashboard over the whole hand-made company; its tests only read."""
    folder = tmp_path_factory.mktemp("company")
    store = StoreProcess(folder / "store").start()
    client = store.client()
    migrate(client)
    cases.fill(client, datetime.now(UTC))
    cases.write_cases(client, cases.many_breaks(datetime.now(UTC), 60), first_seq=1000)
    cases.write_undrawable(client, datetime.now(UTC))
    cases.write_tie_outs(client, datetime.now(UTC))
    dashboard = Dashboard(store.url, folder / "dashboard.log")
    yield dashboard
    dashboard.stop()
    store.kill()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: install the package `chromium`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield browser
        browser.close()


class Visit:
    """One reader's tab, and all it complained of or fetched from elsewhere."""

    def __init__(self, browser: Browser, size: str = "small"):
        width, height = SIZES[size]
        self._context = browser.new_context(viewport={"width": width, "height": height}, timezone_id="Asia/Tokyo")
        self.page: Page = self._context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.complaints: list[str] = []
        self.loads = 0
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(f"page error {error}"))
        self.page.on("request", self._fetched)
        self.page.on("load", self._loaded)

    def _heard(self, message) -> None:
        if message.type == "error":
            self.complaints.append(f"{message.text} {message.location}")

    def _fetched(self, request) -> None:
        if not request.url.startswith(("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:")):
            self.complaints.append(f"fetched {request.url}")

    def _loaded(self, _page) -> None:
        self.loads += 1

    def close(self) -> None:
        self._context.close()


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Visit]:
    """A tab; at the end it must have had nothing to complain of."""
    tab = Visit(chromium)
    yield tab
    tab.close()
    assert tab.complaints == []


@pytest.fixture
def picture(tmp_path: Path) -> Callable[[Page, str], None]:
    folder = Path(os.environ.get("TIEOUT_SCREENSHOTS", tmp_path))
    return lambda page, name: page.screenshot(path=folder / f"{name}.png", full_page=False)


@pytest.fixture
def busy_machine() -> Iterator[None]:
    """Something else that wants all the CPU it can get."""
    burning = subprocess.Popen(["nice", "-n", "5", sys.executable, "-c", "while True: pass"])
    yield
    burning.kill()
    burning.wait()


def shown(page: Page, text: str) -> None:
    expect(page.get_by_text(text).first).to_be_visible(timeout=PATIENCE_MS)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/", "Money by entity and currency"),
        ("/breaks", "Open breaks"),
        ("/operations", "Dead letters"),
        ("/close?period=2026-03", "After the close was signed"),
        ("/case?key=invoice:acme-us:billing:INV-1005", "Timeline across the systems"),
    ],
)
def test_every_page_loads_at_both_sizes_and_fits_its_width(
    company: Dashboard, chromium: Browser, picture, path: str, says: str, size: str
) -> None:
    tab = Visit(chromium, size)
    tab.page.goto(company.url + path)
    shown(tab.page, says)
    shown(tab.page, "newest verdict")
    picture(tab.page, f"{path.strip('/').partition('?')[0] or 'overview'}-{size}")
    sticks_out = tab.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    tab.close()
    assert tab.complaints == []
    assert sticks_out <= 0


def test_a_break_is_found_by_its_payment_and_opened(company: Dashboard, visit: Visit) -> None:
    visit.page.goto(f"{company.url}/breaks")
    shown(visit.page, "Open breaks")
    search = visit.page.get_by_label("Search")
    search.fill("PAY-INV-1007")
    search.press("Enter")
    shown(visit.page, "1 break in 1 case")
    expect(visit.page).to_have_url(f"{company.url}/breaks?search=PAY-INV-1007")
    visit.page.get_by_role("link", name="INV-1007").click()
    shown(visit.page, "The customer paid 900.00 USD less than invoiced.")
    expect(visit.page).to_have_url(f"{company.url}/case?key=invoice%3Aacme-us%3Abilling%3AINV-1007")
    assert visit.loads == 2  # the search refreshed in place; the case is a page of its own


def test_a_tied_out_case_is_found_by_search_too(company: Dashboard, visit: Visit) -> None:
    visit.page.goto(f"{company.url}/breaks?search=PAY-INV-2004")
    shown(visit.page, "Cases without a break that match")
    visit.page.get_by_role("link", name="INV-2004").click()
    expect(visit.page.get_by_role("heading", name="INV-2004")).to_be_visible(timeout=PATIENCE_MS)
    shown(visit.page, "Tied out")


def test_a_deep_link_opens_the_very_case_with_its_events_as_they_came(company: Dashboard, visit: Visit) -> None:
    visit.page.goto(f"{company.url}/case?key=invoice:acme-kw:billing:INV-1004")
    expect(visit.page.get_by_role("heading", name="INV-1004")).to_be_visible(timeout=PATIENCE_MS)
    shown(visit.page, "one posting of 5,750.250 KWD")
    visit.page.locator(".evidence summary").first.click()
    record = visit.page.locator(".evidence pre").first
    expect(record).to_contain_text('"correlationid": "invoice:acme-kw:billing:INV-1004"')
    visit.page.wait_for_timeout(5_000)  # two refreshes must not close what the reader opened
    expect(record).to_be_visible()


def test_a_deep_link_carries_the_filters(company: Dashboard, visit: Visit) -> None:
    visit.page.goto(f"{company.url}/breaks?class=sla&entity=acme-jp")
    shown(visit.page, "1 break in 1 case")
    expect(visit.page.get_by_role("link", name="INV-1003")).to_be_visible()
    visit.page.get_by_role("link", name="Overview").click()
    shown(visit.page, "Money by entity and currency")
    visit.page.go_back()
    shown(visit.page, "1 break in 1 case")


def test_a_page_turns_in_the_order_chosen(company: Dashboard, visit: Visit) -> None:
    visit.page.goto(f"{company.url}/breaks?sort=document")
    expect(visit.page.locator(".case-link").first).to_have_text("INV-1001", timeout=PATIENCE_MS)
    visit.page.get_by_role("button", name="Page 3").click()
    shown(visit.page, "INV-5059")
    expect(visit.page).to_have_url(f"{company.url}/breaks?sort=document&page=3")


def test_choosing_a_filter_starts_at_the_first_page_and_keeps_the_order(company: Dashboard, visit: Visit) -> None:
    visit.page.goto(f"{company.url}/breaks?sort=document&page=3")
    shown(visit.page, "INV-5059")
    visit.page.get_by_role("combobox", name="Currency").click()
    visit.page.get_by_role("option", name="JPY").click()
    shown(visit.page, "1 break in 1 case")
    expect(visit.page).to_have_url(f"{company.url}/breaks?currency=JPY&sort=document")


def test_an_alerts_link_shows_the_breaks_of_its_hop(company: Dashboard, visit: Visit) -> None:
    visit.page.goto(f"{company.url}/breaks?hop=invoice_to_posting&class=sla&class=missing_posting")
    shown(visit.page, "3 breaks in 3 cases")
    assert visit.page.get_by_role("link", name="INV-1008").count() == 0  # an sla break of another hop


def test_hostile_text_is_shown_and_never_run(company: Dashboard, visit: Visit) -> None:
    visit.page.goto(f"{company.url}/case?key=invoice:acme-us:billing:INV-1009")
    shown(visit.page, "<script>console.error(2)</script>")
    assert visit.page.locator(".panel img, .panel script").count() == 0


def test_a_verdict_that_cannot_be_drawn_gives_a_sentence_and_no_trace(company: Dashboard, visit: Visit) -> None:
    visit.page.goto(f"{company.url}/case?key={cases.UNDRAWABLE}")
    shown(visit.page, "This section could not be drawn.")
    assert "Traceback" not in visit.page.content()


def test_a_key_that_no_case_has_is_said_plainly(company: Dashboard, visit: Visit) -> None:
    visit.page.goto(f"{company.url}/case?key=invoice:nobody:billing:X")
    shown(visit.page, "No such case")


def test_times_are_in_the_readers_zone_with_utc_on_hover(company: Dashboard, visit: Visit) -> None:
    visit.page.goto(f"{company.url}/case?key=invoice:acme-us:billing:INV-1005")
    at = visit.page.locator(".timeline time").first
    expect(at).to_be_visible(timeout=PATIENCE_MS)
    utc = datetime.strptime(at.get_attribute("title") or "", "%Y-%m-%d %H:%M:%S.%f UTC")
    assert f"{utc + timedelta(hours=9):%H:%M:%S}" in at.inner_text()
    shown(visit.page, "times in Asia/Tokyo")


def test_no_streamlit_menu_or_deploy_button_is_seen(company: Dashboard, visit: Visit) -> None:
    visit.page.goto(company.url)
    shown(visit.page, "Money by entity and currency")
    for noise in ("stMainMenu", "stAppDeployButton", "stStatusWidget", "stHeader"):
        expect(visit.page.get_by_test_id(noise)).to_be_hidden()


def test_an_empty_store_says_how_to_begin_and_fills_itself(
    store_process: StoreProcess, start_dashboard: Callable[[str], Dashboard], visit: Visit, picture
) -> None:
    dashboard = start_dashboard(store_process.url)
    visit.page.goto(dashboard.url)
    shown(visit.page, "No events yet")
    picture(visit.page, "empty")
    cases.fill(store_process.client(), datetime.now(UTC))
    shown(visit.page, "Money by entity and currency")
    assert visit.loads == 1


def test_a_store_without_tables_says_what_to_run(
    start_store: Callable[..., StoreProcess], start_dashboard: Callable[[str], Dashboard], visit: Visit
) -> None:
    dashboard = start_dashboard(start_store().url)
    visit.page.goto(dashboard.url)
    shown(visit.page, "The store has no tables yet.")


def test_a_stopped_store_is_said_and_its_return_needs_no_reload(
    store_process: StoreProcess, start_dashboard: Callable[[str], Dashboard], visit: Visit, picture
) -> None:
    cases.fill(store_process.client(), datetime.now(UTC))
    dashboard = start_dashboard(store_process.url)
    visit.page.goto(dashboard.url)
    shown(visit.page, "Money by entity and currency")
    store_process.stop()
    shown(visit.page, "does not answer.")
    shown(visit.page, "Below is what was known at")
    shown(visit.page, "store not reached")
    picture(visit.page, "store-stopped")
    store_process.start()
    expect(visit.page.get_by_role("alert")).to_have_count(0, timeout=PATIENCE_MS)
    shown(visit.page, "newest verdict")
    assert visit.loads == 1
    assert "Traceback" not in visit.page.content()


def test_a_store_that_was_never_there_is_said_and_awaited(
    store_process: StoreProcess, start_dashboard: Callable[[str], Dashboard], visit: Visit
) -> None:
    cases.fill(store_process.client(), datetime.now(UTC))
    store_process.stop()
    dashboard = start_dashboard(store_process.url)
    visit.page.goto(f"{dashboard.url}/breaks")
    shown(visit.page, "does not answer.")
    store_process.start()
    shown(visit.page, "11 breaks in 10 cases")
    assert visit.loads == 1


def test_back_from_a_case_returns_to_the_list_as_it_was(company: Dashboard, visit: Visit) -> None:
    visit.page.goto(f"{company.url}/breaks?class=sla&entity=acme-jp")
    visit.page.get_by_role("link", name="INV-1003").click()
    shown(visit.page, "Timeline across the systems")
    visit.page.go_back()
    shown(visit.page, "1 break in 1 case")
    expect(visit.page).to_have_url(f"{company.url}/breaks?class=sla&entity=acme-jp")


def test_a_new_break_appears_on_the_open_list_by_itself(
    store_process: StoreProcess, start_dashboard: Callable[[str], Dashboard], visit: Visit
) -> None:
    now = datetime.now(UTC)
    cases.write_cases(store_process.client(), cases.many_breaks(now, 3))
    visit.page.goto(f"{start_dashboard(store_process.url).url}/breaks")
    shown(visit.page, "3 breaks in 3 cases")
    cases.write_cases(store_process.client(), cases.many_breaks(now, 4), first_seq=10)
    shown(visit.page, "4 breaks in 4 cases")
    assert visit.loads == 1


def test_walking_through_the_pages_of_a_busy_machine_never_meets_a_white_page(
    company: Dashboard, visit: Visit, busy_machine: None
) -> None:
    """Clicks fall anywhere in the two seconds between refreshes: before, while and after one is drawn."""
    deadline = time.monotonic() + WALK_S
    visit.page.goto(company.url)
    shown(visit.page, "Money by entity and currency")
    rounds = 0
    while time.monotonic() < deadline:
        for pause_ms, (open_next, says) in zip((0, 1_900, 300, 2_050), steps(visit.page), strict=True):
            visit.page.wait_for_timeout(pause_ms + 50 * rounds)
            open_next()
            shown(visit.page, says)
        rounds += 1
        assert visit.complaints == []
    assert rounds


def steps(page: Page) -> tuple[tuple[Callable[[], object], str], ...]:
    return (
        (page.get_by_role("link", name="Breaks", exact=True).click, "Open breaks"),
        (page.locator(".case-link").first.click, "Timeline across the systems"),
        (page.go_back, "Open breaks"),
        (page.get_by_role("link", name="Overview").click, "Money by entity and currency"),
    )


def test_filtering_while_the_list_refreshes_never_meets_a_white_page(
    company: Dashboard, visit: Visit, busy_machine: None
) -> None:
    visit.page.goto(f"{company.url}/breaks")
    shown(visit.page, "Open breaks")
    search = visit.page.get_by_label("Search")
    deadline = time.monotonic() + FILTERING_S
    changes = 0
    while time.monotonic() < deadline:
        for text, found in (("INV-1007", "1 break in 1 case"), ("", "71 breaks in 70 cases")):
            search.fill(text)
            search.press("Enter")
            if changes % 3:  # every third change is overtaken by the next one
                shown(visit.page, found)
                visit.page.wait_for_timeout(1_700 + 60 * (changes % 9))
            changes += 1
        assert visit.complaints == []
    shown(visit.page, "Open breaks")
    assert changes >= 6
    assert visit.loads == 1


def test_back_undoes_a_filter(company: Dashboard, visit: Visit) -> None:
    visit.page.goto(f"{company.url}/breaks")
    shown(visit.page, "71 breaks in 70 cases")
    search = visit.page.get_by_label("Search")
    search.fill("INV-1007")
    search.press("Enter")
    shown(visit.page, "1 break in 1 case")
    visit.page.go_back()
    shown(visit.page, "71 breaks in 70 cases")
    expect(search).to_have_value("")


def test_every_partition_is_on_the_operations_page(company: Dashboard, visit: Visit) -> None:
    visit.page.goto(f"{company.url}/operations")
    shown(visit.page, "8 topics, 24 partitions")
    offsets = visit.page.get_by_role("table", name="Positions").locator(".offsets span")
    expect(offsets).to_have_count(24)
    expect(offsets.nth(2)).to_have_attribute("title", re.compile("^partition 2: lag 3, .*epoch 1, worker worker-a$"))
    sheet = visit.page.locator(".panel", has_text="24 partitions").last
    hidden_px = sheet.evaluate(
        "sheet => Math.max(0, ...[...sheet.querySelectorAll('*')].map(e => e.tagName == 'DIV' ? e.scrollHeight - e.clientHeight : 0))"
    )
    assert hidden_px == 0


def test_operations_tell_a_source_that_is_behind_from_one_that_is_idle_or_not_read(
    company: Dashboard, visit: Visit
) -> None:
    visit.page.goto(f"{company.url}/operations")
    rows = visit.page.get_by_role("table", name="Sources").get_by_role("row")
    for source, state in (("bank", "Records lost"), ("billing", "Behind"), ("erp", "Not read"), ("stripe", "Current")):
        expect(rows.filter(has_text=source)).to_contain_text(state)
    expect(rows.filter(has_text="stripe")).to_contain_text("3.0 h ago")
    expect(rows.filter(has_text="bank").get_by_role("cell").last).to_have_text("–")


def test_operations_say_what_was_done_about_a_dead_letter_by_whom_and_why(
    company: Dashboard, visit: Visit, picture
) -> None:
    visit.page.goto(f"{company.url}/operations")
    shown(visit.page, "Dead letters")
    letters = visit.page.locator(".letters > li")
    expect(letters).to_have_count(3, timeout=PATIENCE_MS)
    assert letters.locator(".chip:first-child").all_inner_texts() == ["Open", "Resolved", "Parked"]
    letters.nth(1).locator("summary").click()
    expect(letters.nth(1)).to_contain_text("replayed once")
    expect(letters.nth(1)).to_contain_text("Ada Byron")
    expect(letters.nth(1)).to_contain_text("contract 9 is accepted now")
    expect(letters.nth(1).get_by_role("link", name=cases.REPLAYED_INTO)).to_be_visible()
    letters.nth(2).locator("summary").click()
    expect(letters.nth(2)).to_contain_text("replayed 3 times")
    expect(letters.nth(2)).to_contain_text("<script>")
    picture(visit.page, "dead-letters")


def test_case_shows_the_dead_letters_that_were_replayed_into_it(company: Dashboard, visit: Visit, picture) -> None:
    visit.page.goto(f"{company.url}/case?key={cases.REPLAYED_INTO}")
    shown(visit.page, "Dead letters replayed into this case")
    row = visit.page.get_by_role("table", name="Dead letters").locator("tbody tr")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("contract version 9 of invoice.issued is not accepted")
    expect(row).to_contain_text("raw.canonical/0/12")
    expect(row).to_contain_text("Ada Byron")
    picture(visit.page, "case-of-a-letter")
    visit.page.goto(f"{company.url}/case?key=invoice:acme-us:billing:INV-1005")
    shown(visit.page, "How the verdict changed")
    assert visit.page.get_by_text("Dead letters replayed into this case").count() == 0


def test_a_close_shows_its_differences_by_name_and_links_to_their_cases(
    company: Dashboard, visit: Visit, picture
) -> None:
    visit.page.goto(f"{company.url}/close?entity=acme-us&ledger=main&period=2026-03")
    shown(visit.page, "Ada Byron")
    shown(visit.page, "Grace Hopper")
    receivables = visit.page.locator(".panel", has=visit.page.get_by_role("heading", name="Receivables"))
    bridge = receivables.get_by_role("table", name="Bridge")
    expect(bridge.locator("tbody tr")).to_have_count(6, timeout=PATIENCE_MS)
    rows = [row.split("\t") for row in bridge.locator("tbody tr").all_inner_texts()]
    assert [(row[0], row[1].removesuffix("USD").strip()) for row in rows] == [
        ("Documents", "150.00"), ("Not posted", "−50.00"), ("No document", "20.00"), ("Amount differs", "−10.00"),
        ("Ledger", "110.00"), ("Reported", "not reported"),
    ]  # fmt: skip
    expect(receivables).to_contain_text("the ledger reported no balance as of 2026-03-31")
    late = visit.page.get_by_role("table", name="After the close").locator("tbody tr")
    expect(late).to_have_count(1)
    expect(late).to_contain_text("20.00")
    picture(visit.page, "close")
    bridge.get_by_role("link", name="INV-1", exact=True).click()
    expect(visit.page).to_have_url(re.compile("/case\\?key=invoice%3Aacme-us%3Abilling%3AINV-1$"))


def test_a_roll_forward_opens_and_stays_open(company: Dashboard, visit: Visit) -> None:
    visit.page.goto(f"{company.url}/close?period=2026-03")
    visit.page.locator("details.rolled summary").first.click()
    rolled = visit.page.get_by_role("table", name="Roll-forward").first
    expect(rolled).to_contain_text("Closing")
    visit.page.wait_for_timeout(5_000)  # two refreshes must not close what the reader opened
    expect(rolled).to_be_visible()


def test_a_period_that_nobody_tied_out_says_what_to_run(company: Dashboard, visit: Visit) -> None:
    visit.page.goto(f"{company.url}/close?period=1999-01")
    shown(visit.page, "No tie-out of that period is kept.")
    visit.page.get_by_role("link", name="2026-05").click()
    shown(visit.page, "Not signed")
