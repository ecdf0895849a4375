"""The page: it stands alone, and works in a browser."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.browser import Browser, chromium
from tests.helpers.reports import EVIL, Write


def test_nothing_is_loaded_and_nothing_of_the_trials_becomes_markup(typical: Path, write: Write) -> None:
    page, source, *_ = write(typical)
    assert page.loads and all(address.startswith("data:") for address in page.loads)
    assert not re.search(r"url\(|@import|@font-face", source)
    assert page.tags.count("script") == 1 and "<b>ä" not in source and EVIL in page.words
    assert "default-src 'none'" in source


def test_the_page_allows_its_own_script_and_no_other(typical: Path, write: Write) -> None:
    source = write(typical).source
    script = re.search("<script>(.*?)</script>", source, flags=re.DOTALL)
    assert script is not None and "table.sortable" in script[1]
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in source


def test_every_section_is_linked(typical: Path, write: Write) -> None:
    source = write(typical).source
    sections = re.findall(r'<section id="(\w+)">', source)
    assert sections == ["ranking", "curves", "parameters", "classes", "pictures", "cost", "reproduce"]
    assert re.findall(r'<a href="#(\w+)">', source) == sections
    assert "$" not in re.sub(r"(?s)<style>.*?</style>|<script>.*?</script>", "", source), "the template is filled in"


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """Chromium, where the machine has it."""
    found = Browser(chromium(), tmp_path / "profile")
    yield found
    found.end()


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_page_in_a_browser(typical: Path, write: Write, browser: Browser, width: int) -> None:
    write(typical)
    for domain in ("Page", "Runtime", "Log", "Network"):
        browser.ask(f"{domain}.enable")
    browser.load(typical / "report.html", width)
    assert not browser.seen("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
    asked = {event["params"]["request"]["url"] for event in browser.seen("Network.requestWillBeSent")}
    assert {address.partition(":")[0] for address in asked} == {"file"} and len(asked) == 1
    assert browser.value("document.documentElement.scrollWidth") <= width
    shown = browser.value("[...document.querySelectorAll('svg')].filter(s => s.clientWidth > 200).length")
    assert shown == 5 + 2  # each wide chart once
    browser.value("document.querySelectorAll('#table-ranking th button')[3].click()")
    order = "[...document.querySelectorAll('#table-ranking tbody tr')].map(row => row.cells[1].textContent).join()"
    assert browser.value(order) == "0001,0000,base,0002,0003,0004"
    browser.value("document.querySelectorAll('#table-ranking th button')[3].click()")
    assert browser.value(order) == "0003,0002,base,0000,0001,0004"  # upwards, and what has no score stays last
    picture = base64.b64decode(browser.ask("Page.captureScreenshot")["data"])
    assert len(picture) > 10_000
