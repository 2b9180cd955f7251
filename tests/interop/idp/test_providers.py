"""Real identity providers in front of the gate: their tokens, their keys' rotation, and what their users get wrong."""

import base64
import http.server
import json
import os
import re
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

from glewlwyd import Glewlwyd

AUDIENCE = "https://api.example.com"
PATIENCE = 30


def eventually(what, condition):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.05)
    raise AssertionError(f"still not so after {PATIENCE} s: {what}")


def fetch(url, data=None, **headers):
    """Status and body, whatever the status."""
    request = urllib.request.Request(url, data and urllib.parse.urlencode(data).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


class Origin:
    """Answers with the claims that it was sent."""

    def __enter__(self):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                claims = self.headers["X-JWT-Claims"]
                body = base64.urlsafe_b64decode(claims + "==")
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Provider:
    def __init__(self, kind, path=""):
        self.command = ["node", "provider.mjs", kind, path]

    def __enter__(self):
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=self.errors, text=True)
        self.issuer = self.process.stdout.readline().strip()
        if not self.issuer:
            self.errors.seek(0)
            raise AssertionError(f"{self.command}: {self.errors.read()}")
        self.root = re.match(r"http://[^/]+", self.issuer).group()
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.errors.close()

    def metadata(self):
        return json.loads(fetch(self.issuer + "/.well-known/openid-configuration")[1])

    def token(self, alg="RS256"):
        """By the client credentials grant (RFC 6749 §4.4)."""
        form = {"grant_type": "client_credentials", "client_id": "client", "client_secret": "secret", "scope": "api"}
        status, body = fetch(self.metadata()["token_endpoint"], form | {"resource": f"https://api.example.com/{alg}"})
        if status != 200:
            raise AssertionError(f"{status}: {body}")
        return json.loads(body)["access_token"]

    def rotate(self):
        fetch(self.root + "/rotate", {"a": "b"})


class Gate:
    def __init__(self, origin, issuer, *flags, audience=AUDIENCE):
        audience = ["--audience", audience] if audience else []
        listen = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-format", "json"]
        self.command = [os.environ["CLAIMGATE"], "--upstream", origin.url, "--issuer", issuer, *audience, *listen, *flags]

    def __enter__(self):
        self.log = tempfile.NamedTemporaryFile("w+")
        self.process = subprocess.Popen(self.command, stdout=self.log, stderr=self.log)
        first = eventually("the gate says where it listens", self.first_line)
        self.url, self.admin = (f"http://{first[name]}" for name in ("listen", "admin_listen"))
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.log.close()

    def first_line(self):
        with open(self.log.name) as log:
            line = log.readline()
        return line.endswith("\n") and flat(json.loads(line))

    def is_ready(self):
        eventually(f"the gate is ready: {self.status()}", lambda: fetch(self.admin + "/readyz")[0] == 200)
        return self

    def status(self):
        return fetch(self.admin + "/readyz?verbose")[1]

    def trouble(self):
        """Why it has no keys."""
        return eventually("the gate says what is wrong", lambda: "last error" in self.status() and self.status())

    def ask(self, token):
        """The claims that the origin was sent, or the reason why it was not."""
        status, body = fetch(self.url + "/", Authorization=f"Bearer {token}")
        return json.loads(body) if status == 200 else json.loads(body)["reason"]


def flat(document):
    return document | document.get("fields", {})


def header(token):
    part = token.split(".")[0]
    return json.loads(base64.urlsafe_b64decode(part + "=="))


class Case(unittest.TestCase):
    def setUp(self):
        self.origin = self.enterContext(Origin())

    def provider(self, *arguments):
        return self.enterContext(Provider(*arguments))

    def gate(self, issuer, *flags, **options):
        return self.enterContext(Gate(self.origin, issuer, *flags, **options))


class OidcProvider(Case):
    def test_every_algorithm_passes_and_rotation_is_seen_while_it_runs(self):
        provider = self.provider("oidc-provider")
        gate = self.gate(provider.issuer).is_ready()
        for alg in ("RS256", "PS256", "ES256", "ES384", "EdDSA"):
            with self.subTest(alg):
                token = provider.token(alg)
                self.assertEqual((header(token)["alg"], header(token)["typ"]), (alg, "at+jwt"))
                claims = gate.ask(token)
                self.assertEqual((claims["iss"], claims["aud"]), (provider.issuer, AUDIENCE))
        old = provider.token("ES256")
        provider.rotate()
        for alg in ("EdDSA", "RS256"):
            with self.subTest(f"{alg} after the rotation"):
                self.assertEqual(gate.ask(provider.token(alg))["client_id"], "client")
        self.assertEqual(gate.ask(old), "unknown_key")

    def test_an_issuer_with_a_path_is_found_and_its_neighbour_is_not_trusted(self):
        provider, other = self.provider("oidc-provider", "/realms/shop"), self.provider("oidc-provider", "/realms/shop")
        gate = self.gate(provider.issuer).is_ready()
        self.assertEqual(gate.ask(provider.token())["iss"], provider.issuer)
        self.assertEqual(gate.ask(other.token()), "untrusted_issuer")

    def test_a_trailing_slash_too_many_is_told_with_the_flag_that_is_right(self):
        for path in ("", "/realms/shop"):
            provider = self.provider("oidc-provider", path)
            told = self.gate(provider.issuer + "/").trouble()
            self.assertIn(f"use --issuer {provider.issuer} if that is what the tokens carry", told)

    def test_an_issuer_without_its_path_is_told_to_be_completed(self):
        provider = self.provider("oidc-provider", "/realms/shop")
        told = self.gate(provider.root).trouble()
        self.assertIn("is --issuer whole, with its path?", told)

    def test_a_token_for_another_audience_is_refused(self):
        provider = self.provider("oidc-provider")
        gate = self.gate(provider.issuer, audience="https://other.example.com").is_ready()
        self.assertEqual(gate.ask(provider.token()), "wrong_audience")


class MockServer(Case):
    def test_its_tokens_without_an_audience_pass_only_where_none_is_asked_for(self):
        provider = self.provider("oauth2-mock-server")
        token = provider.token()
        self.assertEqual(header(token)["typ"], "JWT")
        self.assertEqual(self.gate(provider.issuer, audience=None).is_ready().ask(token)["iss"], provider.issuer)
        self.assertEqual(self.gate(provider.issuer).is_ready().ask(token), "missing_claim")

    def test_the_address_instead_of_the_name_is_told_with_the_flag_that_is_right(self):
        provider = self.provider("oauth2-mock-server")
        told = self.gate(provider.issuer.replace("localhost", "127.0.0.1")).trouble()
        self.assertIn(f"use --issuer {provider.issuer} if that is what the tokens carry", told)


class GlewlwydServer(Case):
    def test_its_tokens_pass_and_rotation_is_seen_while_it_runs(self):
        server = self.enterContext(Glewlwyd())
        gate = self.gate(server.issuer, audience="api").is_ready()
        old = server.token()
        self.assertEqual(header(old)["typ"], "at+jwt")
        claims = gate.ask(old)
        self.assertEqual((claims["iss"], claims["sub"]), (server.issuer, "client"))
        self.assertIn("nbf", claims)
        server.rotate()
        self.assertEqual(gate.ask(server.token())["sub"], "client")
        self.assertEqual(gate.ask(old), "unknown_key")

    def test_an_issuer_that_leaves_out_its_path_is_told_with_the_flag_that_is_right(self):
        server = self.enterContext(Glewlwyd(iss="http://127.0.0.1"))
        told = self.gate(server.issuer).trouble()
        self.assertIn("use --issuer http://127.0.0.1 if that is what the tokens carry", told)


if __name__ == "__main__":
    unittest.main(verbosity=2)
