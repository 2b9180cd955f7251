"""The service with its own JWT checks, in the way that samples for hug show them.

Its faults are kept, since they are what the test is about: keys fetched on each call, no audience, only one family of
errors caught, `Bearer` in one spelling. What the samples get wrong so that no token passes at all is mended: EdDSA is
allowed beside RS256, and the check is a hug authenticator, so that hug hands the user on.
"""

import os

import hug
import jwt
from jwt import PyJWKClient

ISSUER = os.environ["ISSUER"]
JWKS_URL = f"{ISSUER}/.well-known/jwks.json"


def verify_token(token):
    try:
        key = PyJWKClient(JWKS_URL).get_signing_key_from_jwt(token).key
        return jwt.decode(
            token, key, algorithms=["EdDSA", "RS256"], options={"verify_aud": False}, issuer=ISSUER
        )
    except jwt.ExpiredSignatureError:
        raise hug.HTTPUnauthorized("Token has expired")
    except jwt.InvalidTokenError as error:
        raise hug.HTTPUnauthorized(f"Invalid token: {error}")


@hug.authentication.authenticator
def bearer(request, response, verify, **kwargs):
    authorization = request.get_header("Authorization")
    if authorization is None or not authorization.startswith("Bearer "):
        raise hug.HTTPUnauthorized("No token provided")
    return verify(authorization.split(" ")[1])


@hug.get("/protected", requires=bearer(verify_token))
def protected(user: hug.directives.user):
    return {"message": "Access granted", "user": user}
