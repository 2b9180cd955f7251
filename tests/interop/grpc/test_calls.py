"""Every kind of call by a real client, through claimgate, to a real server."""

import asyncio
import base64
import json
import pathlib
import tempfile
import time
import unittest

import grpc
import shout_pb2_grpc
from certificate import self_signed
from gate import Gate
from grpc_health.v1 import health_pb2, health_pb2_grpc
from issuer import Issuer
from shout_server import Origin, text

PATIENCE = 10


def code(name):
    return getattr(grpc.StatusCode, name)


class Calls(unittest.IsolatedAsyncioTestCase):
    """HTTP/2 with prior knowledge, in and out."""

    tls = False

    async def asyncSetUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.issuer, self.origin = await Issuer().start(), await Origin().start()
        flags, credentials = ["--claim-header", "name=X-Name", "--leeway", "1s"], None
        if self.tls:
            certificate, key = self_signed("localhost", pathlib.Path(self.folder.name))
            flags += ["--tls-cert-file", str(certificate), "--tls-key-file", str(key)]
            credentials = grpc.ssl_channel_credentials(certificate.read_bytes())
        self.gate = Gate(self.folder.name, self.issuer, f"h2c://127.0.0.1:{self.origin.port}", *flags)
        await self.gate.start()
        address = f"localhost:{self.gate.address[1]}"
        self.channel = (
            grpc.aio.secure_channel(address, credentials) if credentials else grpc.aio.insecure_channel(address)
        )
        self.stub = shout_pb2_grpc.ShoutStub(self.channel)

    async def asyncTearDown(self):
        await self.channel.close()
        await self.gate.kill()
        await self.origin.stop()
        await self.issuer.stop()
        self.folder.cleanup()

    def metadata(self, **claims):
        return (("authorization", f"Bearer {self.issuer.token(**claims)}"), ("x-mine-bin", b"\0\xff"))

    async def failed(self, call):
        """The status of a call that fails, and what is said of it."""
        with self.assertRaises(grpc.aio.AioRpcError) as raised:
            await asyncio.wait_for(call, PATIENCE)
        return raised.exception.code(), raised.exception.details(), raised.exception

    async def test_unary(self):
        call = self.stub.Unary(text("hello"), metadata=self.metadata(sub="alice"))
        self.assertEqual((await call).text, "HELLO")
        self.assertEqual(dict(await call.initial_metadata())["x-begin"], "1")
        trailing = dict(await call.trailing_metadata())
        self.assertEqual((trailing["x-end"], trailing["x-end-bin"]), ("1", b"\0\xff"))
        told = self.origin.shout.metadata
        claims = told["x-jwt-claims"]
        self.assertEqual(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["sub"], "alice")
        self.assertEqual(told["x-mine-bin"], b"\0\xff")

    async def test_a_megabyte_each_way(self):
        large = "a" * 1_000_000
        self.assertEqual((await self.stub.Unary(text(large), metadata=self.metadata())).text, large.upper())

    async def test_client_stream(self):
        async def requests():
            for word in ("a", "b", "c"):
                yield text(word)

        self.assertEqual((await self.stub.Client(requests(), metadata=self.metadata())).text, "ABC")

    async def test_server_stream(self):
        call = self.stub.Server(text("a b c"), metadata=self.metadata())
        self.assertEqual([answer.text async for answer in call], ["A", "B", "C"])
        self.assertEqual(dict(await call.trailing_metadata())["x-end"], "1")

    async def test_both_each_message_after_the_answer_to_the_one_before(self):
        call = self.stub.Both(metadata=self.metadata())
        for number in range(100):
            await call.write(text(f"a{number}"))
            self.assertEqual((await asyncio.wait_for(call.read(), PATIENCE)).text, f"A{number}")
        await call.done_writing()
        self.assertEqual((await call.read(), await call.code()), (grpc.aio.EOF, code("OK")))

    async def test_many_at_a_time(self):
        async def one(number):
            call = self.stub.Both(metadata=self.metadata())
            for turn in range(10):
                await call.write(text(f"a{number}-{turn}"))
                self.assertEqual((await call.read()).text, f"A{number}-{turn}")
            await call.done_writing()
            return await call.code()

        codes = await asyncio.wait_for(asyncio.gather(*map(one, range(200))), 6 * PATIENCE)
        self.assertEqual(set(codes), {code("OK")})

    async def test_an_error_of_the_origin_comes_as_it_is(self):
        status, details, error = await self.failed(self.stub.Unary(text("fail"), metadata=self.metadata()))
        self.assertEqual((status, details), (code("NOT_FOUND"), "100% of it, \u00e9 too"))
        self.assertEqual(dict(error.trailing_metadata())["x-end"], "1")

    async def test_a_deadline_reaches_the_origin_and_ends_the_call(self):
        call = self.stub.Unary(text("wait"), metadata=self.metadata(), timeout=2)
        self.assertEqual((await self.failed(call))[0], code("DEADLINE_EXCEEDED"))
        self.assertTrue(0 < self.origin.shout.time_remaining <= 2)
        await asyncio.wait_for(self.origin.shout.cancelled.wait(), PATIENCE)

    async def test_a_cancelled_call_is_over_for_the_origin(self):
        for begin in (
            lambda: self.stub.Unary(text("wait"), metadata=self.metadata()),
            lambda: self.stub.Server(text("wait"), metadata=self.metadata()),
        ):
            call = begin()
            await asyncio.wait_for(self.origin.shout.begun.wait(), PATIENCE)
            self.origin.shout.begun.clear()
            call.cancel()
            await asyncio.wait_for(self.origin.shout.cancelled.wait(), PATIENCE)
            self.origin.shout.cancelled.clear()

    async def test_the_health_of_the_origin_can_be_asked_and_watched(self):
        stub, request = health_pb2_grpc.HealthStub(self.channel), health_pb2.HealthCheckRequest(service="shout.Shout")
        serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
        self.assertEqual((await stub.Check(request, metadata=self.metadata())).status, serving)
        watch = stub.Watch(request, metadata=self.metadata())
        self.assertEqual((await asyncio.wait_for(watch.read(), PATIENCE)).status, serving)
        await self.origin.health.set("shout.Shout", not_serving)
        self.assertEqual((await asyncio.wait_for(watch.read(), PATIENCE)).status, not_serving)
        watch.cancel()

    async def test_refusals_have_the_status_of_their_kind(self):
        now = int(time.time())
        for metadata, status, reason in (
            ((), "UNAUTHENTICATED", "token_missing: No token provided"),
            (self.metadata(exp=now - 60), "UNAUTHENTICATED", "expired: Token has expired: expired at "),
            (self.metadata(aud="another"), "UNAUTHENTICATED", "wrong_audience: "),
            (self.metadata(name="a\r\nb"), "PERMISSION_DENIED", "claim_not_forwardable: "),
        ):
            told, details, error = await self.failed(self.stub.Unary(text("a"), metadata=metadata))
            self.assertEqual(told, code(status), details)
            self.assertTrue(details.startswith(reason), details)
            self.assertIn("x-request-id", dict(error.trailing_metadata()))
            self.assertIn("www-authenticate", dict(error.trailing_metadata()))
        self.assertFalse(self.origin.shout.begun.is_set())

    async def test_an_origin_that_is_down_is_unavailable(self):
        await self.origin.stop()
        told, details, _ = await self.failed(self.stub.Unary(text("a"), metadata=self.metadata()))
        self.assertEqual(told, code("UNAVAILABLE"), details)
        self.assertTrue(details.startswith("upstream_unreachable: "), details)

    async def test_a_stream_is_unavailable_when_its_origin_goes_down(self):
        call = self.stub.Server(text("a wait"), metadata=self.metadata())
        self.assertEqual((await call.read()).text, "A")
        await self.origin.stop()
        self.assertIn((await self.failed(call.read()))[0], (code("UNAVAILABLE"), code("CANCELLED")))

    async def test_streams_end_when_their_token_does(self):
        # Together at the same instant, but for the jitter of each.
        metadata = self.metadata(exp=int(time.time()) + 1)
        both, server = self.stub.Both(metadata=metadata), self.stub.Server(text("a wait"), metadata=metadata)
        silent = self.stub.Both(metadata=metadata)
        await both.write(text("a"))
        for call in (both, server):
            self.assertEqual((await call.read()).text, "A")
        for call in (both, server, silent):
            told, details, _ = await self.failed(call.read())
            self.assertEqual((told, details), (code("UNAUTHENTICATED"), "token expired"))


class CallsOverTls(Calls):
    """TLS in, HTTP/2 with prior knowledge out."""

    tls = True


if __name__ == "__main__":
    unittest.main(verbosity=2)
