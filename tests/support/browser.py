"""Headless Chromium, driven by its DevTools protocol over a pipe: nothing but Chromium is needed."""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 120  # seconds for one answer: two cores may be busy


def find_browser():
    """Path of Chromium, or `None`; `$CHROMIUM` goes first."""
    return next(filter(None, map(shutil.which, [os.environ.get("CHROMIUM", ""), *NAMES])), None)


class BrowserError(Exception):
    """The browser, or the script in a page, says that something failed."""


class Browser:
    """One headless Chromium, as a context manager."""

    def __enter__(self):
        self._stack = contextlib.ExitStack()
        profile = self._stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        (commands, self._out), (self._in, answers) = os.pipe(), os.pipe()
        arguments = [
            *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
            *("--use-fake-device-for-media-stream", "--force-color-profile=srgb", "--hide-scrollbars"),
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
        ]
        # Chromium reads commands from the file descriptor 3 and writes to 4.
        pipes = f'exec "$@" 3<&{commands} 4>&{answers}'
        self._process = subprocess.Popen(
            ["bash", "-c", pipes, "bash", find_browser(), *arguments],
            pass_fds=(commands, answers),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self._number, self._buffer, self._events = 0, b"", []
        return self

    def __exit__(self, *error):
        with contextlib.suppress(BrowserError, OSError):
            self.call("Browser.close")
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._out)
        os.close(self._in)
        self._stack.close()

    def call(self, method, session=None, **parameters):
        """Calls a method of the protocol; answers its result."""
        number = self._send(method, session, **parameters)
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self._read(deadline)
            if answer.get("id") == number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self._events.append(answer)
            if answer.get("method") == "Fetch.requestPaused":
                self._fulfil(answer["params"], answer["sessionId"])

    def _fulfil(self, event, session):
        """Answers a request that a tab has reserved; waits for nothing."""
        content = self.answer(event["request"]["url"])
        headers = {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}
        headers["Content-Type"] = "application/wasm" if event["request"]["url"].endswith(".wasm") else "text/javascript"
        self._send(
            "Fetch.fulfillRequest",
            session,
            requestId=event["requestId"],
            responseCode=404 if content is None else 200,
            responseHeaders=[{"name": name, "value": value} for name, value in headers.items()],
            body=base64.b64encode(content or b"").decode(),
        )

    def events(self, method, session):
        """Parameters of the events of a kind that came so far from a tab."""
        asked = (method, session)
        return [event["params"] for event in self._events if (event.get("method"), event.get("sessionId")) == asked]

    def open(self, url, **settings):
        """A `Tab` with a page."""
        return Tab(self, url, **settings)

    def _send(self, method, session, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        content = json.dumps(message).encode() + b"\0"
        while content:
            content = content[os.write(self._out, content) :]
        return self._number

    def _read(self, deadline):
        while b"\0" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._in], [], [], left)[0]:
                raise BrowserError(f"no answer in {PATIENCE} s")
            read = os.read(self._in, 1 << 20)
            if not read:
                raise BrowserError("the browser has ended")
            self._buffer += read
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)


class Tab:
    """A page.

    Args:
        browser: the `Browser`.
        url: of the page.
        width, height: of its window, pixels.
        dark: whether the reader prefers dark colours.
        camera: `"granted"` or `"denied"`.
        script: JavaScript that runs in the page before its own.
    """

    def __init__(self, browser, url, width=1280, height=900, dark=False, camera="denied", script=""):
        self._browser = browser
        context = browser.call("Target.createBrowserContext")["browserContextId"]
        target = browser.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        self._session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            self.call(f"{domain}.enable")
        permission = {"permission": {"name": "camera"}, "setting": camera, "browserContextId": context}
        browser.call("Browser.setPermission", **permission)
        self.resize(width, height)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)
        if script:
            self.call("Page.addScriptToEvaluateOnNewDocument", source=script)
        self.call("Page.navigate", url=url)

    def call(self, method, **parameters):
        return self._browser.call(method, session=self._session, **parameters)

    def resize(self, width, height):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **metrics)

    def answer(self, pattern, content):
        """Lets `content(url)`, bytes or `None`, answer requests whose address is like the pattern."""
        self._browser.answer = content
        self.call("Fetch.enable", patterns=[{"urlPattern": pattern}])

    def run(self, expression):
        """The value of a JavaScript expression, awaited if it is a promise."""
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            raise BrowserError(details.get("exception", {}).get("description", details["text"]))
        return result["result"].get("value")

    def wait(self, condition):
        """Returns once a JavaScript expression is true."""
        deadline = time.monotonic() + PATIENCE
        while not self.run(f"Boolean({condition})"):
            if time.monotonic() > deadline:
                raise BrowserError(f"never: {condition}. The page says: {self.run('document.body.innerText')}")
            time.sleep(0.05)

    def choose_file(self, selector, path):
        """Chooses a file in an input, as a person does."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def press(self, key):
        """Presses a key."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def screenshot(self, path, whole=True):
        picture = self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(picture))

    def errors(self):
        """What went wrong in the page: uncaught exceptions, and messages of level error."""
        thrown = [event["exceptionDetails"]["text"] for event in self._events("Runtime.exceptionThrown")]
        entries = [event["entry"] for event in self._events("Log.entryAdded")]
        logged = [entry["text"] for entry in entries if entry["level"] == "error"]
        return thrown + logged

    def requested(self):
        """Addresses of everything that the page fetched."""
        return [event["request"]["url"] for event in self._events("Network.requestWillBeSent")]

    def _events(self, method):
        return self._browser.events(method, self._session)
