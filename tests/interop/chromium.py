"""Headless Chromium, driven through its DevTools protocol over a pipe: no port, no driver, no library."""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

_PATIENCE = 120  # seconds
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--no-first-run",
    "--remote-debugging-pipe",
)
#: The browser reads from descriptor 3 and writes to 4.
_LAUNCH = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
os.dup2(ends[0], 3)
os.dup2(ends[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


def executable() -> str | None:
    """EDGEOPT_CHROMIUM, or the first that is installed."""
    names = (os.environ.get("EDGEOPT_CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if name and (found := shutil.which(name))), None)


class Chromium:
    """A browser with one tab.

    `messages`: what the console and the security policy said. `requested`: every address that was loaded.
    """

    def __init__(self, profile: Path) -> None:
        program = executable()
        assert program
        to_browser, self._send = os.pipe()
        self._receive, from_browser = os.pipe()
        command = [
            sys.executable,
            "-c",
            _LAUNCH,
            str(to_browser),
            str(from_browser),
            program,
            *_FLAGS,
            f"--user-data-dir={profile}",
            "about:blank",
        ]
        self._process = subprocess.Popen(command, pass_fds=(to_browser, from_browser), stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        self._numbers, self._left, self._session = itertools.count(1), b"", ""
        self.messages: list[str] = []
        self.requested: list[str] = []
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Chromium:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(30)
        os.close(self._send)
        os.close(self._receive)

    def call(self, method: str, **parameters: Any) -> Any:
        """The result of a method of the protocol."""
        number = next(self._numbers)
        session = {"sessionId": self._session} if self._session else {}
        os.write(
            self._send, json.dumps({"id": number, "method": method, "params": parameters, **session}).encode() + b"\0"
        )
        while True:
            message = self._next()
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            self._note(message)

    def run(self, script: str) -> Any:
        """The value of an expression on the page; of a promise what it resolves to."""
        done = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def open(self, address: str) -> None:
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=address)

    def wait(self, condition: str) -> None:
        """Until an expression on the page is true."""
        until = time.monotonic() + _PATIENCE
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() < until, (
                f"{condition} did not become true: {self.run('document.body.innerText')} {self.messages}"
            )
            time.sleep(0.05)

    def type(self, field: str, text: str) -> None:
        """Replace what a field holds, as a keyboard would."""
        self.run(f"(document.querySelector({json.dumps(field)}).focus(), document.activeElement.select())")
        self.call("Input.insertText", text=text)

    def picture(self, path: Path, *, width: int, height: int, dark: bool = False) -> None:
        """A screenshot at that size of the window, in light or dark colors."""
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}],
        )
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def _next(self) -> Any:
        while b"\0" not in self._left:
            ready, _, _ = select.select([self._receive], [], [], _PATIENCE)
            assert ready, "the browser does not answer"
            read = os.read(self._receive, 1 << 20)
            assert read, "the browser ended"
            self._left += read
        message, self._left = self._left.split(b"\0", 1)
        return json.loads(message)

    def _note(self, message: Any) -> None:
        given = message.get("params", {})
        if message.get("method") == "Log.entryAdded":
            self.messages.append(given["entry"]["text"])
        elif message.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
            self.messages.append(json.dumps(given)[:500])
        elif message.get("method") == "Network.requestWillBeSent":
            self.requested.append(given["request"]["url"])
