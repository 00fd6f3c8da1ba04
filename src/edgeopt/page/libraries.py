"""The page's libraries, from npm: the versions and digests of the lock file that lies beside the page's sources."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from edgeopt.support.errors import bad_input, step_failed

ASSETS = Path(__file__).parent / "assets"
#: What the page loads, by the file of the package that it comes from. `.js`, because not every server knows `.mjs`.
FILES: Mapping[str, str] = {
    "ort.js": "onnxruntime-web/dist/ort.wasm.min.mjs",
    "ort-wasm.js": "onnxruntime-web/dist/ort-wasm-simd-threaded.mjs",
    "ort.wasm": "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm",
    "tokenizers.js": "@huggingface/tokenizers/dist/tokenizers.min.mjs",
    "tokenizers.LICENSE": "@huggingface/tokenizers/LICENSE",
}
_PATIENCE = 600  # seconds


def packages() -> list[tuple[str, str, str]]:
    """(name, version, license) of the packages that FILES come from, as the lock has them."""
    locked = json.loads((ASSETS / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    entries = [(name, locked[f"node_modules/{name}"]) for name in locked[""]["dependencies"]]
    return [(name, entry["version"], entry["license"]) for name, entry in entries]


def install(target: Path) -> None:
    """Write FILES, and what they are, into the new folder `target`.

    npm checks every package against the lock, keeps it in its own cache, and runs no script of it. Raises InputError
    E162 without npm, StepError E416 where it fails.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise bad_input(
            "E162",
            "the page's libraries come from npm, which is not here",
            help="install Node.js 18 or newer, which brings npm",
        )
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(ASSETS / name, Path(scratch) / name)
        command = [
            npm,
            "ci",
            "--ignore-scripts",
            "--prefer-offline",
            "--no-audit",
            "--no-fund",
            "--no-update-notifier",
            "--loglevel=error",
        ]
        try:
            done = subprocess.run(
                command,
                cwd=scratch,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_PATIENCE,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _failed(str(error)) from None
        if done.returncode:
            raise _failed(done.stderr)
        target.mkdir()
        for name, source in FILES.items():
            shutil.copyfile(Path(scratch) / "node_modules" / source, target / name)
    (target / "README.txt").write_text(
        "".join(f"{name} {version}, {license}\n" for name, version, license in packages()), encoding="utf-8"
    )


def _failed(said: str) -> Exception:
    text = " ".join(said.split())[:300] or "it says nothing"
    return step_failed(
        "E416",
        f"npm could not bring the page's libraries: {text}",
        help="npm needs its registry once; then its cache will do",
    )
