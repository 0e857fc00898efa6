"""
The entry point of `hh-exporter` and `python -m hh_exporter`.

Imports nothing but the standard library until it is called: the command line
needs an extra that the exporter does not.
"""

from __future__ import annotations

import sys

__all__ = ["main"]

_EXTRA = ("click", "rich")
"""What the extra `cli` installs."""

_HINT = (
    'hh-exporter: the command line needs the extra "cli": '
    "run pip install '.[cli]' in a clone of hh_exporter"
)


def main() -> None:
    """
    Run the command that the arguments name; ends with SystemExit.
    """
    try:
        from hh_exporter._cli import cli
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] not in _EXTRA:
            raise
        print(_HINT, file=sys.stderr)
        raise SystemExit(2) from None
    cli(prog_name="hh-exporter")


if __name__ == "__main__":
    main()
