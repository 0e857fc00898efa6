"""
What waits is packed the same way, whichever library is there.
"""

from __future__ import annotations

import sys
import zlib
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hh_exporter import _packing


def imported() -> Any:
    """
    Import the module once more, with what can be imported now.
    """
    assert _packing.__file__
    spec = spec_from_file_location("packing", _packing.__file__)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


INSTALLED: Any = _packing
with pytest.MonkeyPatch.context() as patch:
    patch.setitem(sys.modules, "isal", None)
    WITHOUT = imported()

BOTH = pytest.mark.parametrize("packing", [INSTALLED, WITHOUT], ids=["as installed", "zlib"])


def test_the_two_are_different() -> None:
    pytest.importorskip("isal", reason="needs the extra gzip")
    assert INSTALLED.isal_zlib is not None
    assert WITHOUT.isal_zlib is None


@BOTH
@given(data=st.binary())
def test_either_reads_what_the_other_wrote(packing: Any, data: bytes) -> None:
    packed = packing.pack(data)

    assert INSTALLED.unpack(packed) == WITHOUT.unpack(packed) == data


@BOTH
def test_text_shrinks(packing: Any) -> None:
    text = b'{"role":"user","content":"What is the capital of France?"},' * 20

    assert len(packing.pack(text)) < len(text) / 4


@BOTH
@pytest.mark.parametrize("damaged", [b"", b"no", zlib.compress(b"text")[:-2]])
def test_damage_is_told_by_one_error(packing: Any, damaged: bytes) -> None:
    with pytest.raises(zlib.error):
        packing.unpack(damaged)
