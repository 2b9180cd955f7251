"""glewlwyd 2.7 with one plugin: an issuer under a path, its own keys, and the client credentials grant."""

import http.cookiejar
import json
import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

SCHEMA = Path("/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3")
MODULES = Path("/usr/lib/glewlwyd")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def openssl(*words, **more):
    return subprocess.run(["openssl", *words], check=True, capture_output=True, text=True, **more).stdout


class Glewlwyd:
    def __init__(self, iss=None):
        """Without an `iss`, tokens and metadata carry the URL at which discovery is."""
        self.iss = iss

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        folder, port = Path(self.folder.name), free_port()
        subprocess.run(["sqlite3", folder / "db"], input=SCHEMA.read_text(), text=True, check=True, capture_output=True)
        self.root = f"http://127.0.0.1:{port}"
        self.issuer = f"{self.root}/api/oidc"
        environment = {
            "GLWD_PORT": str(port), "GLWD_BIND_ADDRESS": "127.0.0.1", "GLWD_EXTERNAL_URL": self.root,
            "GLWD_API_PREFIX": "api", "GLWD_LOGIN_URL": "login.html", "GLWD_LOG_MODE": "file",
            "GLWD_LOG_FILE": str(folder / "log"), "GLWD_LOG_LEVEL": "INFO", "GLWD_COOKIE_SECURE": "0",
            "GLWD_SESSION_KEY": "session", "GLWD_SESSION_EXPIRATION": "3600", "GLWD_ADMIN_SCOPE": "g_admin",
            "GLWD_PROFILE_SCOPE": "g_profile", "GLWD_HASH_ALGORITHM": "SHA512", "GLWD_DATABASE_TYPE": "sqlite3",
            "GLWD_DATABASE_SQLITE3_PATH": str(folder / "db"), "GLWD_USER_MODULE_PATH": str(MODULES / "user"),
            "GLWD_CLIENT_MODULE_PATH": str(MODULES / "client"), "GLWD_AUTH_SCHEME_MODULE_PATH": str(MODULES / "scheme"),
            "GLWD_PLUGIN_MODULE_PATH": str(MODULES / "plugin"),
        }  # fmt: skip
        # There is none, and it asks for the folder.
        environment["GLWD_USER_MIDDLEWARE_MODULE_PATH"] = str(folder)
        self.process = subprocess.Popen(["glewlwyd", "-e"], env=os.environ | environment, stdout=-3, stderr=-3)
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self.opener = urllib.request.build_opener(cookies)
        self.wait_for_it()
        self.call("POST", "/api/auth/", {"username": "admin", "password": "password"})
        self.call("POST", "/api/scope/", {"name": "api", "display_name": "api", "password_required": False, "scheme": {}})
        client = {
            "client_id": "client", "name": "client", "client_secret": "a long secret", "confidential": True, "enabled": True,
            "scope": ["api"], "authorization_type": ["client_credentials"], "redirect_uri": [],
            "token_endpoint_auth_method": ["client_secret_basic"],
        }  # fmt: skip
        self.call("POST", "/api/client/?source=database", client)
        self.call("POST", "/api/mod/plugin/", self.plugin())
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()

    def wait_for_it(self):
        deadline = time.monotonic() + 30
        while True:
            try:
                return self.opener.open(f"{self.root}/api/", timeout=5).close()
            except urllib.error.HTTPError:
                return
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise AssertionError(f"glewlwyd does not start: {self.log()}") from None
                time.sleep(0.1)

    def log(self):
        return (Path(self.folder.name) / "log").read_text()

    def call(self, method, path, document):
        body = json.dumps(document).encode()
        request = urllib.request.Request(self.root + path, body, {"Content-Type": "application/json"}, method=method)
        try:
            return self.opener.open(request, timeout=30).read()
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read()} {self.log()[-2000:]}") from None

    def plugin(self):
        """With a new RSA key."""
        key = openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
        public = openssl("pkey", "-pubout", input=key)
        parameters = {
            "iss": self.iss or self.issuer, "jwt-type": "rsa", "jwt-key-size": "256", "key": key, "cert": public,
            "access-token-duration": 300, "allow-non-oidc": True, "auth-type-client-enabled": True, "jwks-show": True,
        }  # fmt: skip
        return {"module": "oidc", "name": "oidc", "display_name": "oidc", "enabled": True, "parameters": parameters}

    def rotate(self):
        self.call("PUT", "/api/mod/plugin/oidc", self.plugin())
        self.call("PUT", "/api/mod/plugin/oidc/reset/", {})

    def token(self):
        form = urllib.parse.urlencode({"grant_type": "client_credentials", "scope": "api"}).encode()
        passwords = urllib.request.HTTPPasswordMgrWithPriorAuth()
        passwords.add_password(None, self.root, "client", "a long secret", is_authenticated=True)
        opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(passwords))
        with opener.open(f"{self.issuer}/token/", form, timeout=30) as response:
            return json.load(response)["access_token"]
