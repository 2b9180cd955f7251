"""An issuer under a path, with discovery and a key set of one EdDSA and one RS256 key."""

import base64
import collections
import hashlib
import hmac
import itertools
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from jwt.algorithms import OKPAlgorithm, RSAAlgorithm

PATH = "/__zuplo/issuer"
AUDIENCE = "https://api.example.com"


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def flip_a_bit(part):
    """One part of a token with the first bit of its bytes turned."""
    data = bytearray(base64.urlsafe_b64decode(part + "=="))
    data[0] ^= 1
    return base64url(bytes(data))


class Issuer:
    def __init__(self):
        self.hits = collections.Counter()
        self.available = True
        self._serial = itertools.count(1)
        self.rotate()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}{PATH}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()

    def rotate(self):
        """New keys under new names; the old ones are gone at once."""
        serial = next(self._serial)
        self.keys = {
            "EdDSA": (f"ed-{serial}", ed25519.Ed25519PrivateKey.generate()),
            "RS256": (f"rsa-{serial}", rsa.generate_private_key(public_exponent=65537, key_size=2048)),
        }

    def claims(self, **changes):
        """A good payload; a change to `None` leaves the claim out."""
        now = int(time.time())
        claims = {"iss": self.url, "sub": "alice", "aud": AUDIENCE, "iat": now, "exp": now + 300} | changes
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, alg="EdDSA", key=None, header=None, **changes):
        kid, own_key = self.keys[alg]
        return jwt.encode(self.claims(**changes), key or own_key, alg, {"kid": kid} | (header or {}))

    def token_without_kid(self):
        return jwt.encode(self.claims(), self.keys["EdDSA"][1], "EdDSA")

    def unsigned_token(self, alg):
        header = {"alg": alg, "typ": "JWT", "kid": self.keys["RS256"][0]}
        return ".".join(base64url(json.dumps(part).encode()) for part in (header, self.claims())) + "."

    def token_keyed_with_the_public_key(self):
        """HS256 with the published RSA key as the secret."""
        kid, key = self.keys["RS256"]
        secret = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        header = {"alg": "HS256", "typ": "JWT", "kid": kid}
        signing_input = ".".join(base64url(json.dumps(part).encode()) for part in (header, self.claims()))
        return f"{signing_input}.{base64url(hmac.digest(secret, signing_input.encode(), hashlib.sha256))}"

    def _key_set(self):
        keys = []
        for alg, (kid, key) in self.keys.items():
            form = OKPAlgorithm if alg == "EdDSA" else RSAAlgorithm
            keys.append(form.to_jwk(key.public_key(), as_dict=True) | {"kid": kid, "alg": alg, "use": "sig"})
        return {"keys": keys}

    def _documents(self):
        return {
            f"{PATH}/.well-known/openid-configuration": {
                "issuer": self.url,
                "jwks_uri": f"{self.url}/.well-known/jwks.json",
            },
            f"{PATH}/.well-known/jwks.json": self._key_set(),
        }

    def _handler(issuer):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.hits[self.path.removeprefix(PATH)] += 1
                document = issuer._documents().get(self.path)
                if not issuer.available:
                    self.answer(503, {"error": "the issuer is down"})
                elif document is None:
                    self.answer(404, {"error": "not found"})
                else:
                    self.answer(200, document)

            def do_POST(self):
                if self.path != f"{PATH}/rotate":
                    return self.answer(404, {"error": "not found"})
                issuer.rotate()
                self.answer(200, {})

            def answer(self, status, document):
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        return Handler
