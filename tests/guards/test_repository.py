"""The files around the package agree with it: workflows, Makefile, citation, links of the pages in the root."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

import instantstyle

from .documentation import PAGES, ROOT

MAKEFILE = (ROOT / "Makefile").read_text()
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
NOT_SHIPPED = {".", "..", ".venv", "build", "dist", "demo.png"}
"""What `make` makes."""

TARGETS = {*re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE)}


def list_commands(workflow: Path) -> list[str]:
    """List the commands of all jobs of a workflow."""
    jobs = yaml.safe_load(workflow.read_text())["jobs"].values()
    return [step["run"] for job in jobs for step in job["steps"] if "run" in step]


def find_missing_links(page: Path) -> set[str]:
    """Return the relative links of a page whose files do not exist."""
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    return {link for link in links if "://" not in link and not (page.parent / link).exists()}


def test_workflows_run_what_the_makefile_has():
    commands = [command for workflow in WORKFLOWS for command in list_commands(workflow)]
    made = [command.split() for command in commands if command.startswith("make ")]
    targets = [word for words in made for word in words[1:] if "=" not in word]
    assert [target for target in targets if target not in TARGETS] == []
    others = [command for command in commands if not command.startswith("make ")]
    assert [command for command in others if not command.startswith("sudo apt-get")] == []
    assert len(targets) >= 7


def test_ci_runs_what_the_makefile_has():
    targets = re.findall(r"^(?:exec )?make (\S+)$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert {"check", "test-slow", "docs"} <= {*targets} <= TARGETS


def test_the_makefile_says_what_each_target_does():
    described = {*re.findall(r"^# make ([a-z][a-z-]*) ", MAKEFILE, re.MULTILINE)}
    [phony] = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    internal = {"study-table", "format"}
    assert {name for name in phony.split() if "$" not in name} - internal == described


def test_workflows_have_read_access_only():
    permissions = {workflow.name: yaml.safe_load(workflow.read_text())["permissions"] for workflow in WORKFLOWS}
    assert permissions == {workflow.name: {"contents": "read"} for workflow in WORKFLOWS}


def test_the_citation_has_the_version_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == instantstyle.__version__
    # A preferred citation would be shown instead of the software, and the message asks for both.
    assert "preferred-citation" not in citation
    assert [each["url"].rpartition("/")[2] for each in citation["references"]] == ["2404.02733", "2308.06721"]


def read_install_section(page: Path) -> list[str]:
    """Return the paragraphs and blocks of a page between its heading *Install* and the next heading."""
    [section] = re.findall(r"^## Install\n+(.*?)\n*(?=^## |\Z)", page.read_text(), re.MULTILINE | re.DOTALL)
    return section.split("\n\n")


def test_the_readme_and_the_first_page_install_alike():
    first = read_install_section(ROOT / "docs" / "index.md")
    assert read_install_section(ROOT / "README.md")[: len(first)] == first
    assert len(first) > 3


def test_pages_install_from_a_clone_until_there_is_a_release():
    released = re.search(r"^## [\d.]+ \(\d{4}", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    lines = [line for page in PAGES for line in page.read_text().splitlines() if "pip install" in line]
    own = [line for line in lines if re.search(r"pip install '?(\.|instantstyle)", line)]
    assert len(own) >= 8
    assert [line for line in own if ("install instantstyle" in line.replace("'", "")) != bool(released)] == []


def test_links_of_the_pages_in_the_root_lead_to_files():
    pages = [*ROOT.glob("*.md"), ROOT / ".github" / "pull_request_template.md"]
    assert {page.name: missing for page in pages if (missing := find_missing_links(page))} == {}


def test_a_missing_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("[a](page.md#b) [c](https://example.org/d) [e](f.md)")
    assert find_missing_links(page) == {"f.md"}


def test_the_sdist_has_what_make_and_the_documentation_need():
    """Also unpacked from the sdist, where what is missing is not here."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    included = {name.lstrip("/") for name in settings["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]}
    assert [name for name in sorted(included) if not (ROOT / name).exists()] == []
    read = MAKEFILE + (ROOT / "mkdocs.yml").read_text() + (ROOT / ".ci" / "run").read_text()
    needed = {word for word in re.findall(r"[.\w-]+", read) if (ROOT / word).exists()} - NOT_SHIPPED
    links = {link for page in ROOT.glob("docs/*.md") for link in re.findall(r"\]\(\.\./([.\w-]+)", page.read_text())}
    assert {"constraints.txt", "tests", "docs"} <= needed
    assert (needed | links) - included - {"pyproject.toml"} == set()


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="an unpacked sdist has no history")
def test_all_that_is_tracked_is_in_the_sdist():
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    included = {name.lstrip("/") for name in settings["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]}
    # hatchling adds these two.
    assert {name.partition("/")[0] for name in done.stdout.split()} - included == {"pyproject.toml", ".gitignore"}
