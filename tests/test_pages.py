"""The pages of docs/: generated ones are up to date, links lead somewhere, examples and the build work."""

import importlib.util
import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import pgpc
from tests.helpers.browser import Browser, chromium
from tests.helpers.pages import DOCS, ROOT
from tests.helpers.reports import TYPICAL, make_sweep

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
GUIDES = ["tutorial.md", "data.md", "networks.md", "sweeps.md", "selection.md", "clusters.md", "streets.md", "tasks.md"]
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def load(path):
    """A module of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def prose(path):
    return CODE.sub("", path.read_text())


def anchors(path):
    """What can be linked to within a page, as mkdocs and GitHub name it."""
    headings = re.findall(r"^#+ (.*)", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def nav():
    def leaves(tree):
        for entry in tree:
            for value in entry.values():
                yield from leaves(value) if isinstance(value, list) else [value]

    return list(leaves(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))


def test_the_page_of_commands_is_up_to_date():
    page = load(DOCS / "commands.py").page()
    assert page == (DOCS / "commands.md").read_text(), "Generate it: python docs/commands.py > docs/commands.md"


def test_the_page_of_commands_has_every_command_and_flag():
    page = (DOCS / "commands.md").read_text()
    headings = re.findall(r"^#+ `(.*)`$", page, re.MULTILINE)
    assert {"pgpc", "pgpc pack", "pgpc draw selection", "pgpc-sweep", "pgpc-report"} <= set(headings)
    assert re.search(r"`--search {cmaes,.*tpe}` \|", page)
    assert "%(" not in page and "None |" not in page


def test_the_page_of_python_has_all_that_the_packages_offer():
    """What configs hold is on a page of its own."""
    offered = {"sweeps.run", "sweeps.read", *pgpc.__all__} - {"contrast"}
    places = re.findall(r"^::: (\S+)$", (DOCS / "api.md").read_text(), re.MULTILINE)
    shown = {name for name in offered if any(f".{place}".endswith(f".{name}") for place in places)}
    assert {name for name in offered - shown if not name.endswith("Config")} == set()


def test_every_page_is_in_the_menu_once():
    assert sorted(nav()) == sorted(path.name for path in DOCS.glob("*.md"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_within_the_project_lead_somewhere(path):
    links = [link for link in LINK.findall(prose(path)) if "://" not in link]
    for link in links:
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
        assert path.parent == ROOT or target.is_relative_to(DOCS), f"{link} is no part of the built pages"


def test_addresses_are_those_of_the_web():
    for path in PAGES:
        addresses = [link for link in LINK.findall(prose(path)) if "://" in link]
        assert all(address.startswith(("https://", "http://127.0.0.1")) for address in addresses)


def test_the_readme_is_short():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 150 and max(len(line) for line in lines if not line.startswith("|")) <= 150


def test_pictures_are_small_and_all_are_shown():
    shown = {Path(link).name for path in PAGES for link in LINK.findall(path.read_text())}
    pictures = list((DOCS / "images").iterdir())
    assert {picture.name for picture in pictures} <= shown
    assert sum(picture.stat().st_size for picture in pictures) < 500_000


@pytest.mark.slow
def test_the_example_of_own_data_runs(tmp_path):
    command = [sys.executable, DOCS / "examples" / "own_data.py", tmp_path, "4"]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    assert len(list((tmp_path / "segmented" / "overlay").iterdir())) == 8
    assert (tmp_path / "network.pt").is_file()


def test_the_example_of_results_runs(tmp_path, capsys):
    folder = make_sweep(tmp_path, TYPICAL, {0: [10, 20, 29, 30.0]})
    load(DOCS / "examples" / "results.py").main(folder, tmp_path / "scores.png")
    assert (tmp_path / "scores.png").stat().st_size > 1000
    means = [line.split()[:2] for line in capsys.readouterr().out.splitlines()[2:5]]
    assert means == [["0001", "33.46"], ["0000", "31.23"], ["base", "30.00"]]


@pytest.mark.parametrize("name", GUIDES)
def test_commands_of_guides_are_read_without_scrolling(name):
    """In a window of 1280 pixels, between both menus, is room for so much code."""
    code = "\n".join(re.findall(r"^```\w+\n(.*?)^```", (DOCS / name).read_text(), re.MULTILINE | re.DOTALL))
    assert [line for line in code.splitlines() if len(line) > 103] == []


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built pages."""
    pytest.importorskip("mkdocstrings")
    folder = tmp_path_factory.mktemp("pages") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    subprocess.run(command, check=True, cwd=ROOT)
    return folder


@pytest.mark.slow
def test_the_pages_can_be_built(site):
    assert "rank_negatives" in (site / "api.html").read_text()


# What is cut is what is wider than its box: the page, tables, keys that are broken in two.
CUT = """(() => {
  const wide = (element) => element.scrollWidth > element.clientWidth + 1;
  const boxes = [document.documentElement, ...document.querySelectorAll(".md-typeset__scrollwrap")];
  const keys = [...document.querySelectorAll("table:has(th:nth-child(3)) td:first-child code")];
  return [boxes.filter(wide).length, keys.filter((key) => key.getClientRects().length > 1).length];
})()"""


@pytest.mark.slow
def test_the_pages_of_reference_fit_their_windows(site, tmp_path):
    browser = Browser(chromium(), tmp_path / "profile")
    try:
        browser.ask("Page.enable")
        for name, width in itertools.product(("configuration", "api"), (400, 1280)):
            browser.load(site / f"{name}.html", width)
            assert browser.value("document.querySelectorAll('.md-typeset__scrollwrap').length") > 5
            assert browser.value(CUT) == [0, 0], (name, width)
    finally:
        browser.end()
