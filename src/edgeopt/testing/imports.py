"""A check of what a plugin's module imports."""

from __future__ import annotations

import subprocess
import sys
from functools import cache


@cache
def imports_no_torch(module: str) -> None:
    """Raise AssertionError if importing the module imports torch. Recipes are checked and planned without torch."""
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if "No module named" in done.stderr:
        return  # defined in a test file that only pytest can import
    assert done.returncode == 0, f"importing {module} imports torch: move the import into the method that needs it"
