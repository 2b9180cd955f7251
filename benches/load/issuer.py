"""An issuer that rotates its keys and fails on cue, and the tokens that it signs."""

import asyncio
import base64
import hashlib
import itertools
import json
import time

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

AUDIENCE = "https://api.example.com"
JWKS_PATH = "/.well-known/jwks.json"
METADATA_PATH = "/.well-known/openid-configuration"


def base64url(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def encoded(document):
    return base64url(json.dumps(document, separators=(",", ":")).encode())


class SigningKey:
    """One key of the issuer's, under its name."""

    def __init__(self, kid, alg):
        self.kid, self.alg = kid, alg
        if alg == "EdDSA":
            self.private = ed25519.Ed25519PrivateKey.generate()
        elif alg == "ES256":
            self.private = ec.generate_private_key(ec.SECP256R1())
        else:
            self.private = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def jwk(self):
        return {"kid": self.kid, "alg": self.alg, "use": "sig"} | self.public_members()

    def public_members(self):
        public = self.private.public_key()
        if self.alg == "EdDSA":
            raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
            return {"kty": "OKP", "crv": "Ed25519", "x": base64url(raw)}
        numbers = public.public_numbers()
        if self.alg == "ES256":
            x, y = (base64url(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
            return {"kty": "EC", "crv": "P-256", "x": x, "y": y}
        return {"kty": "RSA", "n": base64url(numbers.n.to_bytes(256, "big")), "e": base64url(b"\x01\x00\x01")}

    def signature(self, octets):
        if self.alg == "EdDSA":
            return self.private.sign(octets)
        if self.alg == "ES256":
            # RFC 7518 §3.4: two numbers of 32 bytes, not DER.
            r, s = decode_dss_signature(self.private.sign(octets, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return self.private.sign(octets, padding.PKCS1v15(), hashes.SHA256())

    def token(self, claims):
        text = f'{encoded({"alg": self.alg, "typ": "JWT", "kid": self.kid})}.{encoded(claims)}'
        return f"{text}.{base64url(self.signature(text.encode()))}"


class Issuer:
    """Publishes its three newest keys and signs with the first two, so that no token in transit loses its key. `mode` is
    up, down (refuses), hanging or failing (500)."""

    ALGORITHMS = ("ES256", "EdDSA", "RS256")

    def __init__(self):
        self.mode = "up"
        self.keys = []
        #: When the key set was asked for, by time.monotonic().
        self.fetches = []
        self.serials, self.subjects = itertools.count(1), itertools.count(1)
        self.server, self.port, self.url = None, 0, ""
        self.clients = set()

    async def start(self):
        await self.rotate()
        await self.listen()
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def listen(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", self.port)
        self.port = self.server.sockets[0].getsockname()[1]

    async def rotate(self):
        """A new key in front, and the oldest is gone. Tokens of the new one come after its publication."""
        number = next(self.serials)
        key = await asyncio.to_thread(SigningKey, f"key-{number}", self.ALGORITHMS[number % 3])
        self.keys = [key, *self.keys[:2]]

    async def stop(self):
        await self.become("down")
        while self.clients:
            await asyncio.sleep(0.01)

    async def become(self, mode):
        was, self.mode = self.mode, mode
        if mode == "down":
            self.server.close()
            for writer in self.clients:
                writer.transport.abort()
        elif was == "down":
            await self.listen()

    def claims(self, **changes):
        """A good payload; a change to `None` leaves the claim out."""
        now = int(time.time())
        claims = {"iss": self.url, "sub": f"user-{next(self.subjects)}", "aud": AUDIENCE, "iat": now, "exp": now + 3600}
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def token(self, key=None, **changes):
        return (key or self.keys[0]).token(self.claims(**changes))

    def documents(self):
        return {
            METADATA_PATH: {"issuer": self.url, "jwks_uri": self.url + JWKS_PATH},
            JWKS_PATH: {"keys": [key.jwk() for key in self.keys]},
        }

    async def serve(self, reader, writer):
        self.clients.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                path = head.split(" ", 2)[1]
                if path == JWKS_PATH:
                    self.fetches.append(time.monotonic())
                while self.mode == "hanging":
                    await asyncio.sleep(0.1)
                writer.write(self.response(path, head))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.clients.discard(writer)
            writer.close()

    def response(self, path, head):
        if self.mode == "failing":
            return b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
        document = self.documents().get(path)
        if document is None:
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        body = json.dumps(document).encode()
        tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        fields = f"ETag: {tag}\r\nCache-Control: max-age=60\r\nContent-Type: application/json\r\n"
        if tag in head:
            return f"HTTP/1.1 304 Not Modified\r\n{fields}\r\n".encode()
        return f"HTTP/1.1 200 OK\r\n{fields}Content-Length: {len(body)}\r\n\r\n".encode() + body


def most_within(times, seconds):
    """The most of these times in any interval of that length."""
    return max((sum(start <= at < start + seconds for at in times) for start in times), default=0)
