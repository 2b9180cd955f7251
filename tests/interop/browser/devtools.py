"""Chromium, told what to do over its DevTools protocol."""

import asyncio
import itertools
import json
import pathlib
import tempfile

from websockets.asyncio.client import connect

PATIENCE = 30
SWITCHES = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-proxy-server", "--ignore-certificate-errors",
    "--remote-debugging-port=0",
)  # fmt: skip


class Browser:
    """A Chromium with a profile of its own. As a context manager, it is gone afterwards."""

    async def __aenter__(self):
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        command = ["chromium", *SWITCHES, f"--user-data-dir={self.profile.name}", "about:blank"]
        self.log = tempfile.TemporaryFile()
        self.process = await asyncio.create_subprocess_exec(*command, stdout=self.log, stderr=self.log)
        # The first line is the port, the second the path.
        told = pathlib.Path(self.profile.name, "DevToolsActivePort")
        async with asyncio.timeout(PATIENCE):
            while not (told.exists() and len(lines := told.read_text().splitlines()) == 2):
                assert self.process.returncode is None, self.said()
                await asyncio.sleep(0.05)
        self.address = f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        return self

    async def __aexit__(self, *_):
        if self.process.returncode is None:
            self.process.terminate()
            await self.process.wait()
        self.log.close()
        self.profile.cleanup()

    def said(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")[-2000:]


class Page:
    """One page, which sends these header fields with whatever it asks for."""

    def __init__(self, browser, headers):
        self.browser, self.headers = browser, headers
        self.numbers, self.answers, self.events = itertools.count(1), {}, []

    async def __aenter__(self):
        self.socket = await connect(self.browser.address, max_size=None)
        self.reader = asyncio.create_task(self.read())
        self.session = None
        target = await self.tell("Target.createTarget", url="about:blank")
        attached = await self.tell("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self.session = attached["sessionId"]
        await self.tell("Network.enable")
        await self.tell("Network.setExtraHTTPHeaders", headers=self.headers)
        return self

    async def __aexit__(self, *_):
        await self.socket.close()
        self.reader.cancel()

    async def read(self):
        async for text in self.socket:
            message = json.loads(text)
            if "id" in message:
                self.answers.pop(message["id"]).set_result(message)
            else:
                self.events.append(message)

    async def tell(self, method, **parameters):
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        answer = self.answers[number] = asyncio.get_running_loop().create_future()
        await self.socket.send(json.dumps(message))
        answer = await asyncio.wait_for(answer, 2 * PATIENCE)
        assert "error" not in answer, f"{method}: {answer}"
        return answer["result"]

    async def open(self, url):
        await self.tell("Page.navigate", url=url)
        async with asyncio.timeout(PATIENCE):
            while await self.run("document.readyState + location.href") != f"complete{url}":
                await asyncio.sleep(0.05)

    async def run(self, script):
        """What the script's value is, or its promise's."""
        result = await self.tell("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def told(self, method):
        """The parameters of each event of this kind."""
        return [event["params"] for event in self.events if event["method"] == method]
