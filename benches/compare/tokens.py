"""Tokens of about 848 bytes, RS256 with 2048 bits: good, forged and expired."""

import base64
import concurrent.futures
import json
import multiprocessing
import os
import pathlib
import time

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

SIZE = 848
ROTATION = 2000
KID = "compare-1"
LIFE = 6 * 3600


class Key:
    """The issuer's key. `jwks` and `pem` are its public half."""

    def __init__(self):
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.private = key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        public = key.public_key()
        self.pem = public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        numbers = public.public_numbers()
        jwk = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": KID}
        jwk["n"] = base64url(numbers.n.to_bytes(256, "big"))
        jwk["e"] = base64url(numbers.e.to_bytes(3, "big"))
        self.jwks = json.dumps({"keys": [jwk]}).encode()


class Tokens:
    """Files of tokens, one per line, and one of each kind to try a proxy with."""

    def __init__(self, folder, key, issuer, fresh):
        now = int(time.time())
        good = mint_all(key, issuer, range(1 + ROTATION + fresh + 2), now)
        (expired,) = mint(key.private, issuer, range(1), now - LIFE - 3600)
        self.good, self.expired = good[0], expired
        unseen = good[1 + ROTATION :]
        # A signature of the issuer's over another token. Each token is another one, so that none can be remembered.
        forged = [
            one.rpartition(".")[0] + "." + other.rpartition(".")[2] for one, other in zip(unseen, unseen[1:])
        ]
        self.forged = forged[-1]
        self.files = {}
        for name, tokens in {
            "same": good[:1],
            "rotation": good[1 : 1 + ROTATION],
            "first seen": unseen[:fresh],
            "forged": forged[:fresh],
            "expired": [expired],
        }.items():
            path = pathlib.Path(folder, name.replace(" ", "-") + ".tokens")
            path.write_text("".join(token + "\n" for token in tokens))
            self.files[name] = path


def mint_all(key, issuer, numbers, now):
    """On all cores: a signature takes about a millisecond."""
    count = os.cpu_count() or 1
    step = -(-len(numbers) // (4 * count))
    parts = [numbers[start : start + step] for start in range(0, len(numbers), step)]
    # Not forked: the issuer may already be a thread of this process.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(count, context) as pool:
        jobs = [pool.submit(mint, key.private, issuer, part, now) for part in parts]
        return [token for job in jobs for token in job.result()]


def mint(private, issuer, numbers, now):
    key = serialization.load_der_private_key(private, None)
    head = base64url(json.dumps({"alg": "RS256", "kid": KID, "typ": "JWT"}, separators=(",", ":")).encode())
    tokens = []
    for number in numbers:
        text = f"{head}.{base64url(payload(issuer, number, now, len(head)))}"
        signature = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        tokens.append(f"{text}.{base64url(signature)}")
    return tokens


def payload(issuer, number, now, head):
    """Claims as an issuer makes them, filled up to the size of the token."""
    claims = {
        "iss": issuer,
        "sub": f"user-{number:08}",
        "aud": ["https://api.example.com"],
        "iat": now,
        "nbf": now,
        "exp": now + LIFE,
        "jti": f"{number:032x}",
        "azp": "example-client",
        "scope": "openid profile email orders:read orders:write",
        "groups": "",
    }
    encode = lambda: json.dumps(claims, separators=(",", ":")).encode()
    room = (SIZE - head - 2 - 342) * 3 // 4 - len(encode())
    claims["groups"] = "g" * max(room, 0)
    return encode()


def base64url(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
