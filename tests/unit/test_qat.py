from __future__ import annotations
from pathlib import Path
from typing import Any
import pytest
from edgeopt.testing import check_transform
from edgeopt.transforms import registry

@pytest.mark.parametrize("more", [{}, {"ranges": "learned"}])
def test_conf(more: Any, tiny_model: Path, tiny_data: Path, tmp_path: Path) -> None:
    s = check_transform(registry.get("quantize.qat"), {"max_steps": 8, "batch_size": 8, "learning_rate": 1e-3, **more}, model=tiny_model, data=tiny_data, work=tmp_path)
    print(s.figures, s.files)
