"""
Nobody is told to install the package from an index, which does not have it.
"""

from __future__ import annotations

import re
import subprocess
from configparser import ConfigParser

import pytest

from tests.docs.pages import PAGES, ROOT, examples

FROM_INDEX = re.compile(
    r"""
    \b(?:install|add) (?: [ ]+-\S+ )* [ ]+ ['"]?  # of pip, uv, poetry and the like
    hh[_-]exporter (?: \[ [\w,]+ \] )?
    (?! [\w./[-] | \s*@\s*git\+ )            # no longer word, and no URL
    """,
    re.VERBOSE | re.IGNORECASE,
)


def written() -> dict[str, str]:
    """
    Read all that people may read: pages, messages, scripts.
    """
    listed = subprocess.run(
        ("git", "ls-files", "*.md", "*.py", "*.sh", "*.cfg", "*.toml"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = [ROOT / name for name in listed.stdout.splitlines()]
    return {str(path.relative_to(ROOT)): path.read_text() for path in paths if path.exists()}


@pytest.mark.parametrize(
    ("line", "is_wrong"),
    [
        ("pip install hh_exporter", True),
        ("pip install 'hh-exporter[cli]'", True),
        ("pip install --quiet -U hh_exporter", True),
        ("uv add hh-exporter", True),
        ("install hh_exporter[cli], or send JSON", True),
        ("pip install '.[cli]'", False),
        ("pip install '.[cli]' in a clone of hh_exporter", False),
        ("pip install 'hh_exporter[cli] @ git+URL'", False),
        (".venv/bin/hh-exporter demo", False),
    ],
)
def test_a_wrong_way_is_found(line: str, is_wrong: bool) -> None:
    """
    Whatever installs it, and with whatever extra.
    """
    assert bool(FROM_INDEX.search(line)) == is_wrong


def test_nothing_says_to_install_it_from_an_index() -> None:
    """
    Pages and messages name a clone or its URL.
    """
    own = "tests/docs/test_install.py"
    found = {
        f"{name}: {match[0]}"
        for name, text in written().items()
        for match in FROM_INDEX.finditer(text)
        if name != own
    }

    assert found == set()


def test_the_extras_of_the_page_are_those_for_users() -> None:
    """
    The page lists all but those that develop and test the package.
    """
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    ours = {"apps", "arq", "bench", "dev", "docs", "servers", "workers"}

    listed = re.findall(r"^\| (`.*?`) \|", PAGES["start"], re.MULTILINE)
    extras = {extra for cell in listed for extra in re.findall(r"`(\w+)`", cell)}

    assert extras == set(config["options.extras_require"]) - ours
    [line] = examples(PAGES["start"], "text")
    assert re.fullmatch(r"hh_exporter\[(\w+)\] @ git\+URL\n", line)
