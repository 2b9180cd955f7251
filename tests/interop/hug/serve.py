"""Serves a hug file as `hug -f FILE` does (wsgiref, HTTP/1.0), on a free port, which is printed first."""

import importlib
import sys
from wsgiref.simple_server import make_server

module = importlib.import_module(sys.argv[1])
server = make_server("127.0.0.1", 0, module.__hug_wsgi__)
print(server.server_port, flush=True)
server.serve_forever()
