"""A browser through the gate: EventSource and WebSocket, over HTTP/1.1, and over HTTP/2 with TLS."""

import asyncio
import contextlib
import datetime
import ipaddress
import json
import os
import signal
import sys
import tempfile
import time
import unittest

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from devtools import Browser, Page
from gate import Gate
from issuer import Issuer
from origin import Events, WebSockets

EVENTS = 20
MESSAGES = 1000
#: A stream may outlive its token by so much, so that not all end at once.
JITTER = 5

LISTEN_TO_EVENTS = f"""
new Promise(resolve => {{
    const seen = [], source = new EventSource("/events");
    source.onmessage = event => {{
        seen.push(event.data);
        if (seen.length == {EVENTS}) resolve(JSON.stringify(seen));
        fetch("/seen/" + event.data);
    }};
    source.onerror = () => {{ window.ended = Date.now() / 1000; source.close(); }};
}})"""

ECHO = """
new Promise(resolve => {
    const socket = window.socket = new WebSocket(location.origin.replace("http", "ws") + "/echo", %s);
    socket.binaryType = "arraybuffer";
    const sent = [...Array(%d).keys()].map(number => number %% 2 ? "text ü " + number : new Uint8Array([number, 0, 255]).buffer);
    const same = (one, other) => typeof one == typeof other
        && (typeof one == "string" ? one == other : String(new Uint8Array(one)) == String(new Uint8Array(other)));
    let seen = 0, wrong = 0;
    socket.onopen = () => sent.forEach(message => socket.send(message));
    socket.onmessage = event => {
        wrong += !same(event.data, sent[seen++]);
        if (seen == sent.length) resolve(JSON.stringify({ seen, wrong, protocol: socket.protocol }));
    };
    window.hasClosed = new Promise(tell => socket.onclose = event =>
        tell(JSON.stringify({ code: event.code, reason: event.reason, at: Date.now() / 1000 })));
    window.hasClosed.then(resolve);
})"""


@contextlib.asynccontextmanager
async def house(origin, *flags, tls=False, token=None):
    """An issuer, this origin and the gate before it; a page that sends a good token with whatever it asks for."""
    with tempfile.TemporaryDirectory() as folder:
        issuer = await Issuer().start()
        async with origin, Browser() as browser:
            flags = [*flags, "--leeway", "0s", "--workers", "1", *(certificate(folder) if tls else ())]
            gate = await Gate(folder, issuer, origin.port, *flags).start()
            try:
                headers = {"Authorization": f"Bearer {token or issuer.token()}"} if token != "" else {}
                async with Page(browser, headers) as page:
                    page.issuer = issuer
                    page.url = f"{'https' if tls else 'http'}://127.0.0.1:{gate.address[1]}"
                    yield page
            finally:
                gate.terminate()
                await gate.ended()
                await issuer.stop()


class EventSource(unittest.TestCase):
    def run_in_a_browser(self, tls, protocol):
        async def test():
            origin = Events(EVENTS)
            async with house(origin, tls=tls) as page:
                # Long enough for the events, and then it is over.
                expiry = int(time.time()) + 4
                token = page.issuer.token(exp=expiry)
                await page.tell("Network.setExtraHTTPHeaders", headers={"Authorization": f"Bearer {token}"})
                await page.open(f"{page.url}/")
                seen = json.loads(await page.run(LISTEN_TO_EVENTS))
                self.assertEqual(seen, [str(number) for number in range(1, EVENTS + 1)])
                used = await page.run("performance.getEntriesByType('navigation')[0].nextHopProtocol")
                self.assertEqual(used, protocol)
                ended = await self.value_of(page, "window.ended")
                self.assertGreaterEqual(ended, expiry)
                self.assertLess(ended, expiry + JITTER + 5)
                async with asyncio.timeout(10):
                    while not origin.gone:
                        await asyncio.sleep(0.05)
                print(f"EventSource, {protocol}: {EVENTS} events one by one, ended {ended - expiry:.1f} s after exp")

        asyncio.run(test())

    async def value_of(self, page, name):
        async with asyncio.timeout(30):
            while (value := await page.run(name)) is None:
                await asyncio.sleep(0.05)
        return value

    def test_events_come_one_by_one_over_http_1_1_until_the_token_is_over(self):
        self.run_in_a_browser(False, "http/1.1")

    def test_events_come_one_by_one_over_http_2_until_the_token_is_over(self):
        self.run_in_a_browser(True, "h2")


class WebSocket(unittest.TestCase):
    def run_in_a_browser(self, tls, status):
        async def test():
            origin = WebSockets()
            flags = ["--token-websocket-protocol", "access_token", "--skip-auth-route", "GET=/page"]
            async with house(origin, *flags, tls=tls, token="") as page:
                await page.open(f"{page.url}/page")
                expiry = int(time.time()) + 6
                token = page.issuer.token(exp=expiry)
                protocols = json.dumps(["access_token", token, "chat"])
                echoed = json.loads(await page.run(ECHO % (protocols, MESSAGES)))
                self.assertEqual(echoed, {"seen": MESSAGES, "wrong": 0, "protocol": "chat"})
                handshakes = page.told("Network.webSocketHandshakeResponseReceived")
                self.assertEqual([shake["response"]["status"] for shake in handshakes], [status])
                # The token is not the origin's to see, its claims are.
                self.assertEqual(origin.protocols, ["chat"])
                self.assertTrue(origin.claims[0])
                closed = json.loads(await page.run("window.hasClosed"))
                self.assertEqual((closed["code"], closed["reason"]), (1008, "token expired"))
                self.assertGreaterEqual(closed["at"], expiry)
                async with asyncio.timeout(10):
                    while not origin.closes:
                        await asyncio.sleep(0.05)
                self.assertEqual(origin.closes, [(1008, "token expired")])
                refused = json.loads(await page.run(ECHO % ("[]", 1)))
                self.assertEqual(refused["code"], 1006)
                print(f"WebSocket, status {status}: {MESSAGES} messages unchanged, closed at exp")

        asyncio.run(test())

    def test_messages_echo_over_http_1_1_until_the_token_is_over(self):
        self.run_in_a_browser(False, 101)

    def test_messages_echo_over_http_2_until_the_token_is_over(self):
        self.run_in_a_browser(True, 200)


class Refusal(unittest.TestCase):
    def test_a_script_reads_why_it_was_refused(self):
        async def test():
            flags = ["--skip-auth-route", "GET=/"]
            async with house(Events(1), *flags, tls=True, token="") as page:
                await page.open(f"{page.url}/")
                told = await page.run("fetch('/events').then(async answer => [answer.status, (await answer.json()).reason])")
                self.assertEqual(told, [401, "token_missing"])

        asyncio.run(test())


def certificate(folder):
    """The flags for one of 127.0.0.1's, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.timezone.utc)
    addresses = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=1))
    signed = builder.add_extension(addresses, critical=False).sign(key, hashes.SHA256())
    paths = os.path.join(folder, "tls.crt"), os.path.join(folder, "tls.key")
    with open(paths[0], "wb") as file:
        file.write(signed.public_bytes(serialization.Encoding.PEM))
    with open(paths[1], "wb") as file:
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    return "--tls-cert-file", paths[0], "--tls-key-file", paths[1]


if __name__ == "__main__":
    # So that what was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    unittest.main(verbosity=2)
