"""Tokens of about 848 bytes, RS256 with 2048 bits: good, forged and expired. And many, which EdDSA makes cheap."""

import base64
import concurrent.futures
import json
import multiprocessing
import os
import pathlib
import time

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

SIZE = 848
ROTATION = 2000
FEW = 10_000
KID = "compare-1"
LIFE = 6 * 3600


class Key:
    """An issuer's key. `jwks` and `pem` are its public half."""

    def __init__(self, key, algorithm, **jwk):
        self.algorithm = algorithm
        self.private = key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.pem = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        jwk |= {"use": "sig", "alg": algorithm, "kid": KID}
        self.jwks = json.dumps({"keys": [jwk]}).encode()

    @classmethod
    def rsa(cls):
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        numbers = key.public_key().public_numbers()
        n, e = base64url(numbers.n.to_bytes(256, "big")), base64url(numbers.e.to_bytes(3, "big"))
        return cls(key, "RS256", kty="RSA", n=n, e=e)

    @classmethod
    def ed25519(cls):
        key = ed25519.Ed25519PrivateKey.generate()
        x = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return cls(key, "EdDSA", kty="OKP", crv="Ed25519", x=base64url(x))


class Tokens:
    """Files of tokens, one per line, and one of each kind to try a proxy with."""

    def __init__(self, folder, key, issuer, fresh):
        now = int(time.time())
        good = mint_all(key, issuer, range(1 + ROTATION + fresh + 2), now)
        (expired,) = mint(key, issuer, range(1), now - LIFE - 3600)
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
            "few": unseen[:FEW],
            "first seen": unseen[:fresh],
            "forged": forged[:fresh],
            "expired": [expired],
        }.items():
            self.files[name] = write(folder, name, tokens)


def write(folder, name, tokens):
    path = pathlib.Path(folder, name.replace(" ", "-") + ".tokens")
    path.write_text("".join(token + "\n" for token in tokens))
    return path


def mint_all(key, issuer, numbers, now):
    """On all cores: a signature of RSA takes about a millisecond."""
    count = os.cpu_count() or 1
    step = -(-len(numbers) // (4 * count))
    parts = [numbers[start : start + step] for start in range(0, len(numbers), step)]
    # Not forked: the issuer may already be a thread of this process.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(count, context) as pool:
        jobs = [pool.submit(mint, key, issuer, part, now) for part in parts]
        return [token for job in jobs for token in job.result()]


def mint(key, issuer, numbers, now):
    private = serialization.load_der_private_key(key.private, None)
    rsa_only = (padding.PKCS1v15(), hashes.SHA256()) if key.algorithm == "RS256" else ()
    header = {"alg": key.algorithm, "kid": KID, "typ": "JWT"}
    head = base64url(json.dumps(header, separators=(",", ":")).encode())
    tokens = []
    for number in numbers:
        text = f"{head}.{base64url(payload(issuer, number, now, len(head)))}"
        signature = private.sign(text.encode(), *rsa_only)
        tokens.append(f"{text}.{base64url(signature)}")
    return tokens


def payload(issuer, number, now, head):
    """Claims as an issuer makes them, filled up to the size that the token has with RS256."""
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
