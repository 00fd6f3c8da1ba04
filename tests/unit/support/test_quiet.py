"""What libraries warn of fails nothing; edgeopt's own warnings stay what the caller made of them."""

from __future__ import annotations

import warnings

import pytest

from edgeopt.support.quiet import hushed


def warned(module: str) -> None:
    warnings.warn_explicit("old", FutureWarning, f"{module}.py", 1, module)


def test_an_error_in_place_of_a_warning_is_for_edgeopt_alone() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with warnings.catch_warnings(record=True) as told:
            with hushed():
                warned("transformers.modeling_utils")
                with pytest.raises(FutureWarning):
                    warned("edgeopt.run.execute")
            assert [str(each.message) for each in told] == ["old"]
        with pytest.raises(FutureWarning):
            warned("transformers.modeling_utils")
