"""Who sends requests: good ones, bad ones, slow ones, and ones that go away."""

import asyncio
import collections
import hashlib
import os
import random
import time

from client import Broken, Connection, head
from issuer import base64url, encoded
from origin import PIECE

POOL = 40


class Clients:
    """Each method is one request, or one of a kind on a connection of its own; `KINDS` says how many go on at a time."""

    def __init__(self, address, issuer, tally):
        self.address, self.issuer, self.tally = address, issuer, tally
        self.pool = collections.defaultdict(list)
        self.kept = collections.defaultdict(list)
        self.retired = []

    def token(self, key):
        """Of those that the gate has seen, mostly."""
        pool = self.pool[key.kid]
        if len(pool) < POOL:
            pool.append(self.issuer.token(key))
        return random.choice(pool) if random.random() < 0.8 else self.issuer.token(key)

    async def valid(self, kind, exchange, repeatable=True):
        """One request with a valid token: `exchange` makes of it `200`, or says what came instead."""
        key = random.choice(self.issuer.keys[:2])
        token, was_known, since = self.token(key), key.kid in self.tally.known, time.monotonic()
        try:
            outcome = await exchange(token)
        except Broken as error:
            outcome = str(error)
        self.tally.valid(kind, outcome, key, was_known, repeatable, since)

    async def expecting(self, kind, expected, request, may_pass=False):
        """One request with another end, on a connection of its own."""
        since = time.monotonic()
        try:
            outcome = (await self.once(request)).kind
        except Broken as error:
            outcome = str(error)
        self.tally.expect(kind, outcome, expected, since, may_pass)

    async def once(self, request):
        connection = await Connection.open(self.address)
        try:
            return await connection.ask(request)
        finally:
            connection.close()

    async def on_a_kept_connection(self, kind, request):
        connection = self.kept[kind].pop() if self.kept[kind] else await Connection.open(self.address)
        answer = await connection.ask(request)
        if connection.is_open:
            self.kept[kind].append(connection)
        return answer

    # Good ones.

    async def kept_connection(self):
        async def exchange(token):
            return verdict(await self.on_a_kept_connection("get", head("/", token)), b"ok\n")

        await self.valid("GET, kept connection", exchange)

    async def new_connection(self):
        async def exchange(token):
            return verdict(await self.once(head("/", token, Connection="close")), b"ok\n")

        await self.valid("GET, new connection", exchange)

    async def post(self):
        body = os.urandom(random.choice((1, 1000, 60_000)))
        pieces = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)

        async def exchange(token):
            if random.random() < 0.5:
                request = head("/echo", token, "POST", Content_Length=len(body)) + body
            else:
                request = head("/echo", token, "POST", Transfer_Encoding="chunked") + pieces
            answer = await self.on_a_kept_connection("post", request)
            return verdict(answer, hashlib.sha256(body).hexdigest().encode())

        await self.valid("POST", exchange, repeatable=False)

    async def download(self):
        size = 300_000
        await self.valid("GET of 300 kB", lambda token: self.bytes(size, token, None))

    async def slow_origin(self):
        async def exchange(token):
            return verdict(await self.once(head("/slow/800", token)), b"ok\n")

        await self.valid("GET, slow origin", exchange)

    # Slow ones.

    async def slow_head(self):
        async def exchange(token):
            request = head("/", token, Connection="close")
            return verdict(await self.in_pieces(request, 8, 0.8), b"ok\n")

        await self.valid("slow head", exchange)

    async def slow_body(self):
        body = os.urandom(4000)

        async def exchange(token):
            request = head("/echo", token, "POST", Content_Length=len(body)) + body
            return verdict(await self.in_pieces(request, 9, 0.6), hashlib.sha256(body).hexdigest().encode())

        await self.valid("slow body", exchange, repeatable=False)

    async def slow_reader(self):
        await self.valid("slow reader", lambda token: self.bytes(4_000_000, token, lambda: asyncio.sleep(0.1)))

    async def bytes(self, size, token, pace):
        connection = await Connection.open(self.address, limit=16384)
        try:
            connection.send(head(f"/bytes/{size}", token))
            return verdict(await connection.answer(40, pace), (PIECE * (size // len(PIECE) + 1))[:size])
        finally:
            connection.close()

    async def in_pieces(self, request, count, pause):
        """Goes on sending until an answer comes, which may be early."""
        connection = await Connection.open(self.address)
        answering = asyncio.create_task(connection.answer())
        step = -(-len(request) // count)
        try:
            for start in range(0, len(request), step):
                connection.send(request[start : start + step])
                await asyncio.wait([answering], timeout=pause)
                if answering.done():
                    break
            return await answering
        finally:
            connection.close()

    async def endless_head(self):
        since = time.monotonic()
        try:
            outcome = (await self.in_pieces(b"GET / HTTP/1.1\r\nHost: gate.test\r\nX-A: " + b"a" * 14, 14, 0.8)).kind
        except Broken as error:
            outcome = str(error)
        self.tally.expect("head without an end", outcome, {"408 request_timeout"}, since, may_pass=False)

    # Bad ones.

    async def bad_token(self):
        issuer = self.issuer
        token = issuer.token()
        text, other = token.rpartition(".")[0], issuer.token().rpartition(".")[2]
        name, bad, expected = random.choice([
            ("no token", None, "401 token_missing"),
            ("no JWT", "not.a.jwt", "401 malformed_token"),
            ("expired token", issuer.token(exp=int(time.time()) - 3600), "401 expired"),
            ("another audience", issuer.token(aud="https://other.example.com"), "401 wrong_audience"),
            ("another issuer", issuer.token(iss="https://other.example.com"), "401 untrusted_issuer"),
            ("bad signature", f"{text}.{other}", "401 invalid_signature"),
        ])  # fmt: skip
        await self.expecting(name, self.once_known(expected), head("/", bad))

    def once_known(self, expected):
        """What is known of a key decides only once the gate has it."""
        return {expected} if self.issuer.keys[0].kid in self.tally.known else {expected, "503 keys_unavailable"}

    async def made_up_kid(self):
        token = made_up(self.issuer)
        await self.expecting("made-up kid", {"401 unknown_key", "503 keys_unavailable"}, head("/", token))

    async def retired_key(self):
        """Accepted until the gate hears that it is gone."""
        if self.retired:
            token = self.issuer.token(random.choice(self.retired))
            await self.expecting("retired key", {"200", "401 unknown_key", "503 keys_unavailable"}, head("/", token), True)

    async def odd_origin(self):
        if not (key := self.known_key()):
            return
        target, expected = random.choice((("/garbage", "502 upstream_protocol"), ("/cut", "cut")))
        token = self.token(key)
        await self.expecting(f"the origin's {target[1:]}", {expected}, head(target, token), True)

    def known_key(self):
        return next((key for key in self.issuer.keys if key.kid in self.tally.known), None)

    # Those that go away.

    async def vanishing(self):
        token, since = self.token(self.issuer.keys[0]), time.monotonic()
        octets, wait = random.choice([
            (b"", 0),
            (b"GET / HTTP/1.1\r\nHost: ga", 0.1),
            (head("/slow/2000", token), 0.1),
            (head("/echo", token, "POST", Content_Length=100_000) + b"b" * 5000, 0.1),
            (head("/bytes/10000000", token), 0.1),
            (head("/bytes/10000000", token), 5),
            (head("/", made_up(self.issuer)), 0.5),
        ])  # fmt: skip
        try:
            # Reads nothing beyond a little.
            connection = await Connection.open(self.address, limit=1024)
            connection.send(octets)
            await asyncio.sleep(wait)
            connection.abort()
            outcome = "gone"
        except Broken as error:
            outcome = str(error)
        self.tally.expect("vanishing client", outcome, {"gone"}, since, may_pass=False)

    def close(self):
        for connections in self.kept.values():
            for connection in connections:
                connection.close()
        self.kept.clear()


#: A request, how many go on at a time, and the mean pause between two of one client, in seconds.
KINDS = [
    (Clients.kept_connection, 8, 0.03),
    (Clients.new_connection, 4, 0.1),
    (Clients.post, 4, 0.1),
    (Clients.download, 2, 0.3),
    (Clients.slow_origin, 4, 0.2),
    (Clients.slow_head, 4, 1),
    (Clients.slow_body, 6, 1),
    (Clients.slow_reader, 4, 1),
    (Clients.endless_head, 4, 1),
    (Clients.bad_token, 3, 0.1),
    (Clients.made_up_kid, 200, 5),
    (Clients.retired_key, 2, 0.5),
    (Clients.odd_origin, 2, 0.5),
    (Clients.vanishing, 10, 0.5),
]


def verdict(answer, body):
    if answer.status == 200 and answer.body != body:
        return "200 with another body"
    return answer.kind


def made_up(issuer):
    """A token with a key that is not there. Nobody gets as far as its signature."""
    header = {"alg": "RS256", "typ": "JWT", "kid": f"made-up-{random.getrandbits(64):x}"}
    return f"{encoded(header)}.{encoded(issuer.claims())}.{base64url(bytes(256))}"


async def keep_on(request, pause, ending):
    """One client: request after request, until the end."""
    while not ending.is_set():
        await asyncio.sleep(random.uniform(0, 2 * pause))
        await request()
