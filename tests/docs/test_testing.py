"""
docs/testing.md runs as it stands, with the plugin, in a pytest of its own.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/testing.md").read_text()
FILES = {name: text for text, name in re.findall(r"```python\n(# (\S+)\n.*?)```", PAGE, re.DOTALL)}
FORGETFUL = {
    "forgetful.py": FILES["app.py"].replace(
        "    async with exporter:\n        yield\n", "    await exporter.start()\n    yield\n"
    ),
    "test_forgetful.py": FILES["test_shutdown.py"]
    .replace("from app import", "from forgetful import")
    .replace("test_shutdown_delivers", "test_no_shutdown_delivers"),
}
"""The first example, with an app that does not close its exporter."""

SETTINGS = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""


def test_the_examples_do_as_they_say(tmp_path: Path) -> None:
    """
    Each test of the page passes, that of the shutdown not where the hook is missing.
    """
    for name, text in (FILES | FORGETFUL).items():
        (tmp_path / name).write_text(text)
    (tmp_path / "pytest.ini").write_text(SETTINGS)
    plugins = ["-p", "pytest_hh_exporter", "-p", "no:cacheprovider", "-p", "no:xdist"]
    # Without what tells a pytest that another one runs it.
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV_"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, "-v"],
        cwd=tmp_path,
        # As if for production, where no test may send anything.
        env=ours | {"PYTHONPATH": str(ROOT), "HH_API_URL": "http://nowhere.invalid"},
        capture_output=True,
        text=True,
        check=False,
    )

    said = done.stdout + done.stderr
    ended = dict(re.findall(r"::(test_\w+) (\w+)", said))
    assert ended.pop("test_no_shutdown_delivers_what_was_pushed") == "FAILED", said
    tests = re.findall(r"def (test_\w+)", "".join(FILES.values()))
    assert ended == dict.fromkeys(tests, "PASSED"), said
    assert len(tests) == 6


def test_no_example_goes_untested() -> None:
    """
    Every Python block of the page is a file of the above.
    """
    assert PAGE.count("```python") == len(FILES) == 5
