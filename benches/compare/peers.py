"""The proxies: what each is started with. One worker each; no access log; the token goes on to the origin, and where
tokens are checked so do the claims, in a header."""

import dataclasses
import importlib.util
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import typing

from process import Failure

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLAIMS_HEADER = "x-jwt-claims"
#: What the others say in that header, in bytes.
CLAIMS_SIZE = 440
#: What the origin answers with at `/large`, in bytes.
LARGE = 64 * 1024


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a proxy runs: a folder of its own, and loopback ports."""

    folder: pathlib.Path
    port: int
    origin_port: int
    issuer_port: int
    issuer: str
    jwks: str
    pem: pathlib.Path
    #: How many clients it must be able to hold.
    connections: int = 1024
    workers: int = 1
    #: Where claimgate shows its metrics.
    admin: str = "off"
    #: What else claimgate is told.
    options: tuple = ()
    #: Where HTTP/2 is taken by a proxy that cannot tell it from HTTP/1.1.
    http2_port: int = 0


@dataclasses.dataclass(frozen=True)
class Peer:
    name: str
    #: Whether it checks tokens at all.
    checks: bool
    #: From a Place to a command line; writes what files it needs.
    command: typing.Callable[[Place], list]
    #: A command that tells its version.
    version: typing.Callable[[], list]
    #: Whether the command heeds all of the Place.
    given: bool = False
    #: Whether it takes HTTP/2 on a port apart.
    own_http2_port: bool = False


def tool(name):
    found = shutil.which(name)
    if not found:
        raise Failure(f"{name} is missing; on Debian: apt-get install {name}")
    return found


def nginx_command(folder, http, workers, connections):
    # The workers of a root's nginx would be nobody, who cannot enter the folder.
    user = "user root;\n" if os.getuid() == 0 else ""
    paths = "".join(
        f"    {name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(
        f"{user}worker_processes {workers};\ndaemon off;\npid {folder}/nginx.pid;\nerror_log stderr error;\n"
        f"events {{ worker_connections {connections}; }}\n"
        f"http {{\n    access_log off;\n    keepalive_requests 1000000000;\n{paths}{http}}}\n"
    )
    return [tool("nginx"), "-p", folder, "-e", "stderr", "-c", config]


def origin_command(folder, port, connections):
    (folder / "large").write_bytes(b"k" * LARGE)
    http = f"""\
    sendfile on;
    open_file_cache max=16;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{ return 200 "ok\\n"; }}
        location = /large {{ alias {folder}/large; }}
        location = /status {{ stub_status; }}
    }}
"""
    return nginx_command(folder, http, 1, connections)


#: All that claimgate tells the origin besides, of the same size.
GATE_FIELDS = {
    "Host": "$http_host",
    "X-Forwarded-For": "$remote_addr",
    "X-Forwarded-Proto": "$scheme",
    "X-Forwarded-Host": "$http_host",
    "Via": "1.1 claimgate",
    "X-Request-Id": "$request_id",
    CLAIMS_HEADER: CLAIMS_SIZE * "c",
}


def nginx_with_fields(place):
    """What the larger head alone costs: the origin, and whoever waits for it."""
    return nginx(place, GATE_FIELDS)


def nginx(place, fields=None):
    lines = [f'            proxy_set_header {name} "{value}";\n' for name, value in (fields or {}).items()]
    more = "".join(lines)
    http2 = f"listen 127.0.0.1:{place.http2_port} http2 backlog=4096;" if place.http2_port else ""
    # It closes what it need not keep, which would cost more than the requests of many clients; and it writes to a file
    # what does not fit into its buffers, by default 32 KiB.
    http = f"""\
    upstream origin {{
        server 127.0.0.1:{place.origin_port};
        keepalive {place.connections};
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{place.port} backlog=4096;
        {http2}
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
{more}\
            proxy_buffers 16 8k;
        }}
    }}
"""
    # Each request has a connection to the origin besides; and when few are left, idle clients are closed.
    return nginx_command(place.folder, http, place.workers, 3 * place.connections)


def haproxy(place):
    http2 = f"bind 127.0.0.1:{place.http2_port} proto h2 backlog 4096" if place.http2_port else ""
    config = place.folder / "haproxy.cfg"
    config.write_text(f"""\
global
    nbthread {place.workers}
    maxconn {place.connections}
    no strict-limits
    tune.pool-high-fd-ratio 100
defaults
    mode http
    timeout connect 5s
    timeout client 75s
    timeout server 75s
    http-reuse always
frontend gate
    bind 127.0.0.1:{place.port} backlog 4096
    {http2}
    http-request deny deny_status 401 unless {{ http_auth_bearer -m found }}
    http-request set-var(txn.bearer) http_auth_bearer
    http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')
    http-request set-var(txn.iss) var(txn.bearer),jwt_payload_query('$.iss')
    http-request set-var(txn.exp) var(txn.bearer),jwt_payload_query('$.exp','int')
    http-request set-var(txn.now) date()
    http-request deny deny_status 401 unless {{ var(txn.alg) -m str RS256 }}
    http-request deny deny_status 401 unless {{ var(txn.iss) -m str {place.issuer} }}
    http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_verify(txn.alg,"{place.pem}") -m int 1 }}
    http-request deny deny_status 401 if {{ var(txn.exp),sub(txn.now) -m int lt 0 }}
    http-request set-header {CLAIMS_HEADER} %[var(txn.bearer),field(2,.)]
    default_backend origin
backend origin
    server origin 127.0.0.1:{place.origin_port}
""")
    return [tool("haproxy"), "-db", "-q", "-f", config]


def envoy_binary():
    package = importlib.util.find_spec("envoy")
    if not package:
        raise Failure("Envoy is missing: start this through benches/compare/run")
    return pathlib.Path(package.origin).parent / "_bin" / "envoy"


def envoy(cache_size):
    def command(place):
        config = place.folder / "envoy.json"
        config.write_text(json.dumps(envoy_config(place, cache_size), indent=1))
        envoy = [envoy_binary(), "-c", config, "--concurrency", str(place.workers)]
        return [*envoy, "--disable-hot-restart", "--log-level", "error"]

    return command


def envoy_config(place, cache_size):
    types = "type.googleapis.com/envoy.extensions.filters"
    provider = {
        "issuer": place.issuer,
        "remote_jwks": {
            "http_uri": {"uri": place.jwks, "cluster": "issuer", "timeout": "5s"},
            "async_fetch": {},
        },
        "forward": True,
        "forward_payload_header": CLAIMS_HEADER,
    }
    if cache_size:
        provider["jwt_cache_config"] = {"jwt_cache_size": cache_size}
    check = {
        "@type": f"{types}.http.jwt_authn.v3.JwtAuthentication",
        "providers": {"issuer": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "issuer"}}],
    }
    manager = {
        "@type": f"{types}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gate",
        "route_config": {
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "origin"}}]}
            ]
        },
        "http_filters": [
            {"name": "envoy.filters.http.jwt_authn", "typed_config": check},
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{types}.http.router.v3.Router"},
            },
        ],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return {
        "static_resources": {
            "listeners": [
                {"name": "gate", "address": envoy_address(place.port), "filter_chains": [{"filters": filters}]}
            ],
            "clusters": [
                envoy_cluster("origin", place.origin_port, place.connections),
                envoy_cluster("issuer", place.issuer_port, 1),
            ],
        }
    }


def envoy_cluster(name, port, connections):
    # It would refuse more than 1,024.
    most = {limit: connections for limit in ("max_connections", "max_pending_requests", "max_requests")}
    endpoint = {"endpoint": {"address": envoy_address(port)}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2s",
        "circuit_breakers": {"thresholds": [most]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def envoy_address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def claimgate_binary():
    binary = os.environ.get("CLAIMGATE")
    if not binary:
        print("building claimgate", file=sys.stderr, flush=True)
        if subprocess.run(["cargo", "build", "--release", "--locked", "--quiet"], cwd=ROOT).returncode:
            raise Failure("the build failed")
        binary = pathlib.Path(ROOT, os.environ.get("CARGO_TARGET_DIR", "target"), "release", "claimgate")
        os.environ["CLAIMGATE"] = str(binary)
    if not os.access(binary, os.X_OK):
        raise Failure(f"CLAIMGATE={binary} is no executable file")
    return pathlib.Path(binary).resolve()


def claimgate(place):
    return [
        claimgate_binary(), "--listen", f"127.0.0.1:{place.port}", "--upstream", f"http://127.0.0.1:{place.origin_port}",
        "--issuer", place.issuer, "--workers", place.workers, "--max-connections", place.connections,
        "--admin-listen", place.admin, "--access-log", "off", *place.options,
    ]  # fmt: skip


def given(text, checks):
    """A proxy from the command line: NAME=COMMAND."""
    name, equals, command = text.partition("=")
    if not (name and equals and command):
        raise Failure(f"--proxy {text!r} is not NAME=COMMAND")
    program, *rest = shlex.split(command.replace("\\\n", " "))
    # It starts in a folder of its own: a relative path would lead nowhere.
    words = [os.path.abspath(program) if "/" in program else program, *rest]

    def filled(place):
        values = {
            "{listen}": f"127.0.0.1:{place.port}",
            "{origin}": f"http://127.0.0.1:{place.origin_port}",
            "{issuer}": place.issuer,
            "{jwks}": place.jwks,
        }
        # Not str.format: a command may have braces of its own.
        pattern = re.compile("|".join(map(re.escape, values)))
        return [pattern.sub(lambda found: values[found[0]], word) for word in words]

    return Peer(name, checks, filled, lambda: [], given=True)


PEERS = [
    Peer("nginx", False, nginx, lambda: [tool("nginx"), "-v"], own_http2_port=True),
    Peer("nginx-with-fields", False, nginx_with_fields, lambda: [tool("nginx"), "-v"], own_http2_port=True),
    Peer("haproxy", True, haproxy, lambda: [tool("haproxy"), "-v"], own_http2_port=True),
    Peer("envoy", True, envoy(20000), lambda: [envoy_binary(), "--version"]),
    Peer("envoy-uncached", True, envoy(0), lambda: [envoy_binary(), "--version"]),
    Peer("claimgate", True, claimgate, lambda: [claimgate_binary(), "--version"]),
]
