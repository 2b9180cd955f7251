"""The origin: a gRPC server that knows nothing of tokens, and remembers what it was told."""

import asyncio

import grpc
import shout_pb2
import shout_pb2_grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


def text(words):
    return shout_pb2.Text(text=words)


class Shout(shout_pb2_grpc.ShoutServicer):
    def __init__(self):
        #: The metadata of the last call, and how much time it had.
        self.metadata, self.time_remaining = {}, None
        #: Calls that have begun, and those that were cancelled.
        self.begun, self.cancelled = asyncio.Event(), asyncio.Event()

    async def hear(self, context):
        self.metadata = dict(context.invocation_metadata())
        self.time_remaining = context.time_remaining()
        context.set_trailing_metadata((("x-end", "1"), ("x-end-bin", b"\0\xff")))
        await context.send_initial_metadata((("x-begin", "1"),))
        self.begun.set()

    async def Unary(self, request, context):
        await self.hear(context)
        if request.text == "fail":
            await context.abort(grpc.StatusCode.NOT_FOUND, "100% of it, \u00e9 too")
        await self.wait_if(request.text)
        return text(request.text.upper())

    async def Client(self, requests, context):
        await self.hear(context)
        return text("".join([request.text async for request in requests]).upper())

    async def Server(self, request, context):
        await self.hear(context)
        for word in request.text.split():
            await self.wait_if(word)
            yield text(word.upper())

    async def Both(self, requests, context):
        await self.hear(context)
        async for request in requests:
            yield text(request.text.upper())

    async def wait_if(self, word):
        if word == "wait":
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise


class Origin:
    """On a port of its own, by HTTP/2 with prior knowledge."""

    async def start(self):
        self.shout, self.health = Shout(), health.aio.HealthServicer()
        self.server = grpc.aio.server()
        shout_pb2_grpc.add_ShoutServicer_to_server(self.shout, self.server)
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self.server)
        await self.health.set("shout.Shout", health_pb2.HealthCheckResponse.SERVING)
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        await self.server.start()
        return self

    async def stop(self):
        await self.server.stop(0)
