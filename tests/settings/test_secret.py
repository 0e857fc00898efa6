"""
A key shows nowhere but where it is asked for.
"""

from __future__ import annotations

import copy
import pickle

import pytest

from hh_exporter._environment import Settings
from hh_exporter._settings.secret import Secret, hidden

KEY = "hh_canary_7b1d"


def test_a_secret_shows_itself_to_who_asks() -> None:
    """
    Neither its repr, nor its text, nor an attribute of it has what it hides.
    """
    secret = Secret(KEY)
    attributes = [getattr(secret, name) for name in Secret.__slots__]

    assert secret.reveal() == KEY
    assert KEY not in f"{secret} {secret!r} {attributes}"
    assert KEY not in repr(Settings(api_key=KEY))


def test_secrets_compare_by_what_they_hide() -> None:
    """
    Equal ones have one hash; a text is no secret.
    """
    assert Secret(KEY) == hidden(KEY)
    assert hash(Secret(KEY)) == hash(hidden(KEY))
    assert Secret(KEY) != Secret("other")
    assert Secret(KEY) != KEY
    assert hidden(None) is None
    assert hidden(one := Secret(KEY)) is one


def test_a_secret_is_not_written_anywhere() -> None:
    """
    It can't be pickled, nor copied by the same way.
    """
    with pytest.raises(TypeError, match="can't be pickled"):
        pickle.dumps(Secret(KEY))
    with pytest.raises(TypeError, match="can't be pickled"):
        copy.deepcopy(Secret(KEY))
