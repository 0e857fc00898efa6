"""
What a setting may be, as an argument and as a text.
"""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from hh_exporter import ConfigError, ExporterError
from hh_exporter._settings.kinds import Kind, choice, factor, flag, seconds, text, whole

SECRET = "hh_secret"


@pytest.mark.parametrize(
    ("kind", "good", "wrong"),
    [
        (whole(1), [1, 2, 10**30], [0, -1, True, 1.0, "1", None]),
        (whole(2, 4), [2, 3, 4], [1, 5, inf]),
        (seconds(), [0.1, 1, 1e9], [0, 0.0, -1, inf, nan, True, "1", None, 10**400]),
        (seconds(zero=True), [0, 0.0, 5], [-0.1, inf, -inf, nan, False]),
        (factor(), [1, 1.0, 2.5], [0.99, 0, inf, nan, True]),
        (choice("a", "b"), ["a", "b"], ["c", "", "A", None, ["a"]]),
        (flag(), [True, False], [1, 0, "true", None]),
        (text(), ["x", " x "], ["", " ", 1, None]),
    ],
    ids=["whole", "bounded", "seconds", "zero", "factor", "choice", "flag", "text"],
)
def test_an_argument_is_checked(kind: Kind[Any], good: list[Any], wrong: list[Any]) -> None:
    """
    What fits passes, and what does not is a ConfigError that names both.
    """
    for value in good:
        kind.check("setting", value)
    for value in wrong:
        with pytest.raises(ConfigError) as caught:
            kind.check("setting", value)
        assert str(caught.value) == f"setting must be {kind.shape}, not {value!r}"


@pytest.mark.parametrize(
    ("kind", "good", "wrong"),
    [
        (whole(1), {"1": 1, " 12 ": 12}, ["0", "1.5", "1e3", "one", ""]),
        (seconds(), {"1": 1.0, "0.5": 0.5, "1e3": 1000.0}, ["0", "-1", "inf", "nan", "5s", ""]),
        (seconds(zero=True), {"0": 0.0}, ["-1"]),
        (choice("a", "b"), {"a": "a", " b ": "b"}, ["c", "A"]),
        (flag(), {"1": True, "TRUE": True, "yes": True, "On": True, " true ": True}, ["2", "t"]),
        (flag(), {"0": False, "False": False, "NO": False, "off": False}, ["", "none"]),
        (text(), {" x ": "x"}, [" "]),
    ],
    ids=["whole", "seconds", "zero", "choice", "true", "false", "text"],
)
def test_a_variable_is_read(kind: Kind[Any], good: dict[str, Any], wrong: list[str]) -> None:
    """
    A text becomes the value that it says, and is checked as an argument is.
    """
    for given, value in good.items():
        assert kind.read("VARIABLE", given) == value
        assert type(kind.read("VARIABLE", given)) is type(value)
    for given in wrong:
        with pytest.raises(ConfigError, match=r"^VARIABLE must be ") as caught:
            kind.read("VARIABLE", given)
        assert kind.shape in str(caught.value)
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        (whole(1), "a whole number from 1"),
        (whole(1, 5, "bytes"), "a whole number of bytes from 1 to 5"),
        (seconds(), "a number of seconds above 0"),
        (seconds(zero=True), "a number of seconds from 0"),
        (factor(), "a number from 1"),
        (choice("a", "b"), '"a" or "b"'),
        (flag(), "true or false"),
        (text(), "a text"),
    ],
)
def test_a_kind_says_what_it_takes(kind: Kind[Any], shape: str) -> None:
    """
    The words follow "must be", with bounds and unit.
    """
    assert kind.shape == shape


def test_a_secret_is_never_shown() -> None:
    """
    Neither the argument nor the variable appears in the error.
    """
    kind = Kind("a number", lambda _: False, float, secret=True)

    for check in (
        lambda: kind.check("api_key", SECRET),
        lambda: kind.read("HH_API_KEY", SECRET),
        lambda: kind.read("HH_API_KEY", "1"),
    ):
        with pytest.raises(ConfigError) as caught:
            check()
        assert str(caught.value).endswith(" must be a number")


def test_a_config_error_is_a_value_error_of_ours() -> None:
    """
    Both a broad and a narrow except clause catch it.
    """
    assert issubclass(ConfigError, ExporterError)
    assert issubclass(ConfigError, ValueError)
