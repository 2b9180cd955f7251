"""curl, h2load and the h2 library of Python as clients, over HTTP/2 with and without TLS, of a service with HTTP/1.1."""

import asyncio
import hashlib
import json
import os
import pathlib
import re
import ssl
import tempfile
import unittest

import h2.config
import h2.connection
import h2.events
from certificate import self_signed
from gate import Gate
from issuer import Issuer
from origin import Origin

PATIENCE = 20
BODY = os.urandom(1_000_000)


async def run(*command):
    """What a command says, when it succeeds."""
    child = await asyncio.create_subprocess_exec(
        *map(str, command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    said, complained = await asyncio.wait_for(child.communicate(), PATIENCE)
    if child.returncode:
        raise AssertionError(f"{command[0]} ended with {child.returncode}: {complained.decode()}")
    return said.decode()


class Http2(unittest.IsolatedAsyncioTestCase):
    """With prior knowledge."""

    tls = False
    version = "--http2-prior-knowledge"

    async def asyncSetUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.issuer, self.origin = await Issuer().start(), await Origin().start(host="127.0.0.1")
        flags, self.certificate = [], None
        if self.tls:
            self.certificate, key = self_signed("localhost", pathlib.Path(self.folder.name))
            flags = ["--tls-cert-file", str(self.certificate), "--tls-key-file", str(key)]
        self.gate = Gate(self.folder.name, self.issuer, self.origin.port, *flags)
        await self.gate.start()
        self.url = f"{'https' if self.tls else 'http'}://localhost:{self.gate.address[1]}"
        self.token = f"Bearer {self.issuer.token()}"

    async def asyncTearDown(self):
        await self.gate.kill()
        await self.origin.stop()
        await self.issuer.stop()
        self.folder.cleanup()

    async def curl(self, path, *options, version=None):
        """The answer's version, status and body."""
        trust = ["--cacert", self.certificate] if self.tls else []
        form = "\n%{http_version} %{http_code}"
        said = await run("curl", "-sS", version or self.version, *trust, "-w", form, *options, self.url + path)
        body, _, told = said.rpartition("\n")
        return (*told.split(), body)

    async def test_curl_is_answered_and_refused(self):
        header = ("-H", f"Authorization: {self.token}")
        self.assertEqual(await self.curl("/any", *header), ("2", "200", "ok\n"))
        version, status, body = await self.curl("/any")
        self.assertEqual((version, status, json.loads(body)["reason"]), ("2", "401", "token_missing"))
        self.assertEqual(await self.curl("/any", *header, version="--http1.1"), ("1.1", "200", "ok\n"))

    async def test_curl_uploads_and_downloads(self):
        file = pathlib.Path(self.folder.name, "body")
        file.write_bytes(BODY)
        header = ("-H", f"Authorization: {self.token}")
        digest = hashlib.sha256(BODY).hexdigest()
        self.assertEqual(await self.curl("/echo", *header, "--data-binary", f"@{file}"), ("2", "200", digest))
        # Of a length that nobody told.
        unknown = ("-H", "Content-Length:", "-T", f"{file}", "-X", "POST")
        self.assertEqual((await self.curl("/echo", *header, *unknown))[:2], ("2", "200"))
        copy = pathlib.Path(self.folder.name, "copy")
        self.assertEqual((await self.curl("/bytes/3000000", *header, "-o", copy))[:2], ("2", "200"))
        self.assertEqual(copy.read_bytes(), (bytes(range(256)) * 11_719)[:3_000_000])

    async def test_h2load_fails_no_request(self):
        load = ("h2load", "-n", 2000, "-c", 4, "-m", 25, "-H", f"authorization: {self.token}")
        said = await run(*load, f"{self.url}/any")
        self.assertIn("2000 total, 2000 started, 2000 done, 2000 succeeded, 0 failed, 0 errored, 0 timeout", said)
        self.assertRegex(said, re.escape("status codes: 2000 2xx, 0 3xx, 0 4xx, 0 5xx"))

    async def test_h2_speaks_frame_by_frame(self):
        context = None
        if self.tls:
            context = ssl.create_default_context(cafile=self.certificate)
            context.set_alpn_protocols(["h2"])
        reader, writer = await asyncio.open_connection("localhost", self.gate.address[1], ssl=context)
        client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        client.initiate_connection()
        head = [(":method", "POST"), (":scheme", "https" if self.tls else "http"), (":authority", "localhost")]
        for stream in (1, 3):
            token = [("authorization", self.token)] if stream == 1 else []
            client.send_headers(stream, [*head, (":path", "/echo"), *token], end_stream=False)
        for piece in (b"one ", b"two ", b"three"):
            client.send_data(1, piece)
        client.end_stream(1)
        client.ping(b"12345678")
        seen, statuses, bodies = set(), {}, {1: b"", 3: b""}
        while not {"ping", 1, 3} <= seen:
            writer.write(client.data_to_send())
            octets = await asyncio.wait_for(reader.read(65536), PATIENCE)
            self.assertTrue(octets, "the gate has ended the connection")
            for event in client.receive_data(octets):
                if isinstance(event, h2.events.PingAckReceived):
                    seen.add("ping")
                elif isinstance(event, h2.events.ResponseReceived):
                    statuses[event.stream_id] = dict(event.headers)[":status"]
                elif isinstance(event, h2.events.DataReceived):
                    bodies[event.stream_id] += event.data
                    client.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    seen.add(event.stream_id)
        writer.close()
        self.assertEqual(statuses, {1: "200", 3: "401"})
        self.assertEqual(bodies[1].decode(), hashlib.sha256(b"one two three").hexdigest())
        # Refused before its body had come.
        self.assertEqual(json.loads(bodies[3])["reason"], "token_missing")


class Http2OverTls(Http2):
    """Agreed upon by ALPN."""

    tls = True
    version = "--http2"


if __name__ == "__main__":
    unittest.main(verbosity=2)
