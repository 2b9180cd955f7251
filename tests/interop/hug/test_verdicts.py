"""The same requests to the service with its own JWT checks and to the service behind claimgate.

Where the service's own checks are right, claimgate's verdict is the same, in the same words: the title is one that the
service gives, or begins alike. Where they are not, the case says what each answers, and why claimgate's differs.
"""

import http.client
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ed25519
from issuer import AUDIENCE, Issuer, base64url, flip_a_bit

HERE = os.path.dirname(os.path.abspath(__file__))
GRANTED = (200, "Access granted")
START_LIMIT = 30


class Process:
    """A child whose address is found in what it prints, and which is stopped by its own handle."""

    def __init__(self, name, command, environment, address_stream, address_of):
        self.name = name
        self.log = tempfile.TemporaryFile("a+")
        streams = {"stdout": self.log, "stderr": self.log, address_stream: subprocess.PIPE}
        # No setting of the caller's reaches the gate.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CLAIMGATE_")}
        self._child = subprocess.Popen(
            command, cwd=HERE, env=inherited | environment, text=True, stdin=subprocess.DEVNULL, **streams
        )
        self._pipe = getattr(self._child, address_stream)
        found = queue.Queue()
        self._reader = threading.Thread(target=self._read, args=(address_of, found), daemon=True)
        self._reader.start()
        try:
            self.address = found.get(timeout=START_LIMIT)
        except queue.Empty:
            self.address = None
        if self.address is None:
            self.stop()
            with self.log:
                raise AssertionError(f"{name} told no address:\n{self.output()}")

    def _read(self, address_of, found):
        address = None
        for line in self._pipe:
            self.log.write(line)
            if address is None and (address := address_of(line)) is not None:
                found.put(address)
        found.put(address)

    def output(self):
        self.log.flush()
        return os.pread(self.log.fileno(), 1 << 20, 0).decode(errors="replace")

    def stop(self):
        if self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(10)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        self._reader.join()
        self._pipe.close()
        return self._child.returncode


def origin(module, issuer):
    command = [sys.executable, "-B", "serve.py", module]
    return Process(module, command, {"ISSUER": issuer.url}, "stdout", lambda line: f"127.0.0.1:{int(line)}")


def gate(upstream, issuer):
    command = [os.environ["CLAIMGATE"], "--upstream", f"http://{upstream.address}", "--issuer", issuer.url]
    command += ["--audience", AUDIENCE, "--listen", "127.0.0.1:0", "--admin-listen", "off", "--log-format", "json"]

    def listen(line):
        # A mistake in the flags is told in plain text.
        entry = json.loads(line) if line.startswith("{") else {}
        return entry.get("listen") or entry.get("fields", {}).get("listen")

    return Process("claimgate", command, {}, "stderr", listen)


@dataclass
class Answer:
    status: int
    title: str
    user: dict
    headers: http.client.HTTPMessage

    def verdict(self):
        return (self.status, self.title)


def ask(process, *fields):
    """GET /protected with these header fields, in this number and order."""
    connection = http.client.HTTPConnection(process.address, timeout=20)
    try:
        connection.putrequest("GET", "/protected")
        for name, value in fields:
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        text = response.read().decode()
    finally:
        connection.close()
    try:
        body = json.loads(text)
    except ValueError:
        body = {}
    # hug writes a refusal as {"errors": {title: description}}, claimgate as problem+json with a title.
    title = body.get("message") or body.get("title") or "".join(body.get("errors", {}))
    return Answer(response.status, title, body.get("user"), response.headers)


def bearer(token):
    return ("Authorization", f"Bearer {token}")


def matches(answer, expected):
    status, words = expected
    same = answer.title.startswith(words) if words.endswith(":") else answer.title == words
    return answer.status == status and same


class Verdicts(unittest.TestCase):
    report = []

    @classmethod
    def tearDownClass(cls):
        print(*sorted(cls.report), sep="\n", flush=True)

    def setUp(self):
        self.issuer = Issuer()
        self.addCleanup(self.issuer.stop)
        self.before = self.start(origin("before", self.issuer))
        self.after = self.start(origin("after", self.issuer))
        self.gate = self.start(gate(self.after, self.issuer))

    def start(self, process):
        self.addCleanup(process.log.close)
        self.addCleanup(process.stop)
        return process

    def judge(self, process, expected, fields):
        answer = ask(process, *fields)
        message = f"{process.name}: {answer.verdict()} for {expected}\n{process.output()}"
        self.assertTrue(matches(answer, expected), message)

    def agree(self, name, expected, *fields):
        with self.subTest(name):
            self.judge(self.before, expected, fields)
            self.judge(self.gate, expected, fields)
            self.report.append(f"agrees:  {name}: {expected[0]} {expected[1]}")

    def differ(self, name, before, gate, why, *fields):
        with self.subTest(name):
            self.judge(self.before, before, fields)
            self.judge(self.gate, gate, fields)
            self.report.append(f"differs: {name}: {before[0]} before, {gate[0]} after: {why}")

    def test_the_same_verdicts_in_the_same_words(self):
        issuer, now = self.issuer, int(time.time())
        invalid = (401, "Invalid token:")
        head, payload, signature = issuer.token().split(".")
        for name, expected, token in [
            ("a valid EdDSA token", GRANTED, issuer.token()),
            ("a valid RS256 token", GRANTED, issuer.token("RS256")),
            ("an expired token", (401, "Token has expired"), issuer.token(iat=now - 600, exp=now - 300)),
            ("another issuer", invalid, issuer.token(iss="https://other.example.com")),
            ("the issuer with a final slash", invalid, issuer.token(iss=issuer.url + "/")),
            ("one bit of the signature", invalid, f"{head}.{payload}.{flip_a_bit(signature)}"),
            ("a payload that was not signed", invalid, f"{head}.{issuer.token(sub='admin').split('.')[1]}.{signature}"),
            ("a foreign key under our kid", invalid, issuer.token(key=ed25519.Ed25519PrivateKey.generate())),
            ("no signature", invalid, f"{head}.{payload}."),
            ("alg none", invalid, issuer.unsigned_token("none")),
            ("alg nOnE", invalid, issuer.unsigned_token("nOnE")),
            ("HS256 keyed with the public key", invalid, issuer.token_keyed_with_the_public_key()),
            ("an unknown critical extension", invalid, issuer.token(header={"crit": ["exp2"], "exp2": 1})),
            ("no JWT at all", invalid, "opaque"),
        ]:
            self.agree(name, expected, bearer(token))
        self.agree("no token", (401, "No token provided"))

    def test_the_origin_sees_the_claims_that_were_signed(self):
        token = self.issuer.token(name="Zoë Ünïcode", realm_access={"roles": ["a", "b"]})
        users = [ask(process, bearer(token)).user for process in (self.before, self.gate)]
        self.assertEqual(users[0]["realm_access"], {"roles": ["a", "b"]})
        self.assertEqual(users[0], users[1])

    def test_a_rotated_key_passes_and_the_retired_one_does_not(self):
        retired = self.issuer.token()
        self.agree("before the rotation", GRANTED, bearer(retired))
        urllib.request.urlopen(urllib.request.Request(f"{self.issuer.url}/rotate", method="POST"), timeout=10).close()
        for alg in ("EdDSA", "RS256"):
            self.agree(f"a new {alg} key", GRANTED, bearer(self.issuer.token(alg)))
        self.differ(
            "a retired key",
            (500, ""),
            (401, "Invalid token: no key of the issuer matches"),
            "the service does not catch PyJWKClientError, so a bad token looks like a crash",
            bearer(retired),
        )

    def test_where_the_service_was_wrong(self):
        issuer = self.issuer
        crash = "the service does not catch PyJWKClientError"
        missing = (401, "Invalid token: a required claim is missing")
        for name, before, after, why, *fields in [
            (
                "a token for another service",
                GRANTED,
                (401, "Invalid token: it is meant for another audience"),
                "the service switched the audience check off",
                bearer(issuer.token(aud="https://billing.example.com")),
            ),
            ("no audience", GRANTED, missing, "the same switch", bearer(issuer.token(aud=None))),
            ("no exp", GRANTED, missing, "PyJWT lets it live for ever", bearer(issuer.token(exp=None))),
            ("no kid", (500, ""), GRANTED, f"{crash}; RFC 7515 makes kid optional", bearer(issuer.token_without_kid())),
            (
                "an unknown kid",
                (500, ""),
                (401, "Invalid token: no key of the issuer matches"),
                crash,
                bearer(issuer.token(header={"kid": "made-up"})),
            ),
            (
                "the scheme in lower case",
                (401, "No token provided"),
                GRANTED,
                "schemes have no case (RFC 9110 §11.1)",
                ("Authorization", f"bearer {issuer.token()}"),
            ),
            (
                "two spaces after the scheme",
                (401, "Invalid token:"),
                GRANTED,
                "one or more spaces are allowed (RFC 9110 §11.4)",
                ("Authorization", f"Bearer  {issuer.token()}"),
            ),
            (
                "words after the token",
                GRANTED,
                (400, "The Authorization header is malformed"),
                "the service reads the second word and no further",
                ("Authorization", f"Bearer {issuer.token()} and more"),
            ),
            (
                "another scheme",
                (401, "No token provided"),
                (401, "The Authorization scheme is not Bearer"),
                "the same status, a more exact title",
                ("Authorization", "Basic YWxpY2U6c2VjcmV0"),
            ),
            (
                "a token from the future",
                (401, "Invalid token:"),
                (401, "Token is not valid yet"),
                "the same status, a title of its own",
                bearer(issuer.token(nbf=int(time.time()) + 600)),
            ),
            (
                "expired five seconds ago",
                (401, "Token has expired"),
                GRANTED,
                "clocks differ: 30 s of leeway, as --leeway says; 0s is what the service had",
                bearer(issuer.token(exp=int(time.time()) - 5)),
            ),
        ]:
            self.differ(name, before, after, why, *fields)

    def test_a_refusal_says_more_than_its_title(self):
        expired = bearer(self.issuer.token(exp=int(time.time()) - 300))
        for name, fields, error in [("no token", [], None), ("expired", [expired], 'error="invalid_token"')]:
            with self.subTest(name):
                self.assertIsNone(ask(self.before, *fields).headers["WWW-Authenticate"])
                challenge = ask(self.gate, *fields).headers["WWW-Authenticate"]
                self.assertTrue(challenge.startswith("Bearer "), challenge)
                self.assertEqual(error is not None, "error=" in challenge, challenge)
                self.assertIn(error or "realm=", challenge)
        media_types = [ask(process).headers.get_content_type() for process in (self.before, self.gate)]
        self.assertEqual(media_types, ["application/json", "application/problem+json"])
        self.report.append('differs: form of a refusal: {"errors": {title: null}} before, problem+json after')
        self.report.append("differs: WWW-Authenticate: none before, a Bearer challenge after (RFC 6750 §3)")

    def test_keys_are_fetched_once_and_not_for_each_request(self):
        keys = "/.well-known/jwks.json"
        # Its first request waits for its first fetch, which then cannot fall into the counting.
        self.assertEqual(ask(self.gate, bearer(self.issuer.token())).verdict(), GRANTED)
        for process, fetches in ((self.before, 10), (self.gate, 0)):
            hits = self.issuer.hits[keys]
            for _ in range(10):
                self.assertEqual(ask(process, bearer(self.issuer.token())).verdict(), GRANTED)
            self.assertEqual(self.issuer.hits[keys] - hits, fetches, process.name)
        self.report.append("differs: ten requests: ten fetches of the keys before, none after")

    def test_an_issuer_that_is_down_refuses_nobody(self):
        token = bearer(self.issuer.token())
        self.agree("while the issuer is up", GRANTED, token)
        self.issuer.available = False
        self.differ("the issuer is down", (500, ""), GRANTED, "the good keys serve on", token)
        self.differ(
            "the issuer is down, an unknown kid",
            (500, ""),
            (503, "The issuer's keys are not available"),
            "not the token's fault: 503 with Retry-After, neither a crash nor a 401",
            bearer(self.issuer.token(header={"kid": "made-up"})),
        )
        answer = ask(self.gate, bearer(self.issuer.token(header={"kid": "made-up-too"})))
        self.assertGreater(int(answer.headers["Retry-After"]), 0)
        self.issuer.available = True
        self.agree("the issuer is up again", GRANTED, token)

    def test_a_client_cannot_name_the_user(self):
        forged = base64url(json.dumps({"sub": "admin"}).encode())
        for name in ("X-JWT-Claims", "x-jwt-claims", "X_JWT_Claims", "X_Jwt-Claims", "X.JWT.Claims"):
            with self.subTest(name):
                self.assertEqual(ask(self.gate, (name, forged)).verdict(), (401, "No token provided"))
                fields = [(name, forged), bearer(self.issuer.token())]
                for order in (fields, reversed(fields)):
                    self.assertEqual(ask(self.gate, *order).user["sub"], "alice")
        # Why the origin listens on loopback only, and why spellings matter: on its own it believes them.
        for name in ("X-JWT-Claims", "X_JWT_Claims"):
            self.assertEqual(ask(self.after, (name, forged)).user["sub"], "admin")

    def test_the_gate_stops_with_exit_0(self):
        self.assertEqual(ask(self.gate, bearer(self.issuer.token())).verdict(), GRANTED)
        self.assertEqual(self.gate.stop(), 0, self.gate.output())


if __name__ == "__main__":
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    unittest.main(verbosity=2)
