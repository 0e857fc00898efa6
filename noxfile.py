"""
The checks: `nox` runs the usual ones, `nox -t all` all of them, `nox -l` lists them.

Each has an environment of its own below .nox, which is kept from one run to the next.
"""

from __future__ import annotations

import sys
from configparser import ConfigParser
from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"

PYTHONS = ["3.11", "3.12", "3.13"]
THIS = f"{sys.version_info.major}.{sys.version_info.minor}"
nox.options.sessions = ["lint", "types", f"tests-{THIS}"]


@nox.session(tags=["all"])
def lint(session: nox.Session) -> None:
    """
    Look for mistakes, and at the format.
    """
    session.install("ruff>=0.8")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(tags=["all"])
def types(session: nox.Session) -> None:
    """
    Check all types with mypy, and those that users see with basedpyright too.
    """
    session.install("--editable", ".[dev]")
    session.run("mypy")
    session.run("basedpyright", "--pythonpath", f"{session.bin}/python")


@nox.session(tags=["all"])
def docs(session: nox.Session) -> None:
    """
    Make the pages in build/docs, without a warning.
    """
    session.install(".[docs]")
    strictly = ("--fail-on-warning", "--keep-going", "--nitpicky", "--quiet")
    session.run("sphinx-build", *strictly, "docs", "build/docs")


@nox.session(python=PYTHONS, tags=["all"])
def tests(session: nox.Session) -> None:
    """
    Run the tests on each Python that is there; what follows -- goes to pytest.
    """
    session.install("--editable", ".[dev]")
    session.run("pytest", *session.posargs)


@nox.session(tags=["all"])
def browser(session: nox.Session) -> None:
    """
    Look at the collector's page in Chromium.
    """
    session.install("--editable", ".[dev]")
    session.run("pytest", "-m", "browser", "-n0", *session.posargs)


@nox.session(tags=["all"])
def lowest(session: nox.Session) -> None:
    """
    Run the tests on the oldest dependencies that setup.cfg allows, and count what they cover.
    """
    config = ConfigParser()
    config.read("setup.cfg")
    needed = config["options"]["install_requires"].strip().split("\n")
    pins = [f"{line.split('[')[0].split()[0]}=={line.split('>= ')[1]}" for line in needed]
    constraint = Path(session.create_tmp()).resolve() / "lowest.txt"
    constraint.write_text("\n".join(pins))
    session.install("--editable", ".[dev]", "--constraint", str(constraint))
    session.run("pytest", "--cov", "--cov-report=term", "--cov-fail-under=95")


@nox.session(tags=["all"])
def apps(session: nox.Session) -> None:
    """
    Run the recipes with their frameworks, and check that all public names have types.
    """
    # Not editable, which hides from basedpyright where the package is.
    session.install(".[apps,dev]")
    session.run("basedpyright", "--verifytypes", "hh_exporter", "--ignoreexternal")
    session.run("pytest", "tests/integrations", *session.posargs)


@nox.session(tags=["all"])
def workers(session: nox.Session) -> None:
    """
    Run the recipes of task queues, schedulers and workflows; needs redis-server.
    """
    session.install("--editable", ".[workers,dev]")
    tests = [f"tests/integrations/test_{name}.py" for name in ("temporal", "workers")]
    session.run("pytest", *tests, *session.posargs)


@nox.session(tags=["all"])
def arq(session: nox.Session) -> None:
    """
    Run the recipe of arq, which asks for an older client of Redis than the others.
    """
    session.install("--editable", ".[arq,dev]")
    session.run("pytest", "tests/integrations/test_workers.py", *session.posargs)
