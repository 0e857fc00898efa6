"""
What the tests find around them: the same on every machine.

Only the variables in `KEPT` come in from outside. A test that is about another one sets it.

Bytecode is kept even where PYTHONDONTWRITEBYTECODE says otherwise: hundreds of programs are
started, and each would compile the package anew.
"""

from __future__ import annotations

import os
import re
import signal
import site
import sys
import time
from pathlib import Path

__all__ = ["NOBODY_TRUSTED", "seal"]

KEPT = re.compile(
    r"PATH|LD_LIBRARY_PATH|VIRTUAL_ENV|TMPDIR"
    r"|PYTHON(HOME|PATH|PYCACHEPREFIX)"
    r"|(PYTEST|COV|COVERAGE|CHAOS)_\w+"
)
"""Where programs, packages and temporary files are, and how the tests shall run."""

NOBODY_TRUSTED = {"SSL_CERT_FILE": str(Path(__file__).with_name("authority.pem"))}
"""
The environment of programs that speak no TLS: an authority whose key is gone instead of the
machine's hundred and more, which aiohttp reads when it's imported.
"""


def seal(home: Path) -> None:
    """
    Shut out the environment of this process, and so of all that it starts.

    Args:
        home: An empty directory, the new home.
    """
    packages = site.getuserbase()  # of the old home
    for name in list(os.environ):
        if not KEPT.fullmatch(name):
            del os.environ[name]
    sys.dont_write_bytecode = False
    os.environ |= {"HOME": str(home), "PYTHONUSERBASE": packages, "TZ": "UTC"}
    time.tzset()
    os.umask(0o022)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell has it for what ends in &
        signal.signal(signal.SIGINT, signal.default_int_handler)
