"""
What CONTRIBUTING says of checks is what there is, and the changelog keeps its form.
"""

from __future__ import annotations

import ast
import re
from configparser import ConfigParser
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text()
SECTIONS = ["Added", "Changed", "Fixed", "Removed"]


def test_the_sessions_are_those_of_nox() -> None:
    """
    The table has each session of noxfile.py, in its order.
    """
    tree = ast.parse((ROOT / "noxfile.py").read_text())
    sessions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]

    assert re.findall(r"^\| `(\w+)` \|", GUIDE, re.MULTILINE) == sessions


def test_nox_alone_runs_the_usual_checks() -> None:
    """
    They are lint, types and the tests on one Python; the tag `all` has every session.
    """
    text = (ROOT / "noxfile.py").read_text()
    tree = ast.parse(text)
    sessions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]

    assert 'nox.options.sessions = ["lint", "types", f"tests-{THIS}"]\n' in text
    for session in sessions:
        [decorator] = session.decorator_list
        assert "tags=['all']" in ast.unparse(decorator), session.name


def test_a_commit_needs_no_download() -> None:
    """
    Each hook is a tool that the extra `dev` installs.
    """
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    tools = re.findall(r"^([\w-]+)", config["options.extras_require"]["dev"], re.MULTILINE)
    [repo] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]

    assert repo["repo"] == "local"
    for hook in repo["hooks"]:
        assert hook["language"] == "system"
        assert hook["entry"].split()[0] in tools


def test_the_changelog_keeps_its_form() -> None:
    """
    What is not released comes first, in known sections; each entry is a sentence, said once.
    """
    _, *versions = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)

    assert versions[0].startswith("Unreleased\n")
    for version in versions:
        sections = re.findall(r"^### (.*)$", version, re.MULTILINE)
        entries = re.findall(r"^- (.*)$", version, re.MULTILINE)
        assert sections == [name for name in SECTIONS if name in sections]
        assert all(entry.endswith(".") for entry in entries)
        assert len({entry[:60] for entry in entries}) == len(entries) > 0
