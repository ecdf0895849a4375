"""Numbers and names that stand in several files of the project are the same in all."""

import configparser
import re
from pathlib import Path

import yaml

import pgpc

ROOT = Path(__file__).parents[1]
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github" / "workflows").glob("*.yml")}


def requirements(extra):
    return SETUP["options.extras_require"].get(extra, raw=True).split("\n")


def commands(workflow):
    return [step["run"] for job in WORKFLOWS[workflow]["jobs"].values() for step in job["steps"] if "run" in step]


def test_one_version_stands_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
    assert pgpc.__version__ == citation["version"] == newest
    assert SETUP["metadata"]["version"] == "attr: pgpc.__version__"


def test_one_license_stands_everywhere():
    license_ = SETUP["metadata"]["license"]
    assert license_ == yaml.safe_load((ROOT / "CITATION.cff").read_text())["license"] == "Apache-2.0"
    assert "Apache License\n                           Version 2.0" in (ROOT / "LICENSE").read_text()
    assert license_ in (ROOT / "README.md").read_text()


def test_tests_run_on_every_python_that_the_package_names():
    named = re.findall(r"Python :: (3\.\d+)", SETUP["metadata"]["classifiers"])
    assert WORKFLOWS["checks"]["jobs"]["tests"]["strategy"]["matrix"]["python"] == named
    assert SETUP["options"]["python_requires"] == f">={named[0]}" and SETUP["mypy"]["python_version"] == named[0]


def test_code_is_formatted_by_one_ruff():
    (pinned,) = (line for line in requirements("test") if line.startswith("ruff=="))
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert {pin for hook in hooks for pin in hook.get("additional_dependencies", ())} == {pinned}


def test_pages_are_built_by_the_tools_of_the_extra():
    tools = [line for line in requirements("docs") if line and not line.startswith("#")]
    quoted = " ".join(f'"{tool}"' for tool in tools)
    assert f"pip install {quoted}" in commands("docs")
    assert "mkdocs build --strict" in commands("docs")
