"""A WSGI application to try the server with: it says who served it, and gives back what it is sent."""

import os
import time
from urllib.parse import parse_qs


def application(environ, start_response):
    query = parse_qs(environ["QUERY_STRING"])
    if environ["PATH_INFO"] == "/raise":
        raise RuntimeError("as you wished")
    if environ["PATH_INFO"] == "/sleep":
        time.sleep(float(query["seconds"][0]))
    body = f"hello from {os.getpid()}\n".encode()
    if environ["REQUEST_METHOD"] == "POST":
        # to its end, where the client does not say how long it is
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH", -1)))
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [body]
