#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a person reads when a provider's test fails: what, where, what next.

Real servers, real TLS with certificates of a private CA, a real proxy's
refusals. Each case names what its sentence must hold.
"""

import http.server
import json
import os
import socket
import ssl
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from kenaz import Engine, Refused, check, cli, main  # noqa: E402

HTML = b"<!doctype html><html><title>Sign in</title></html>"
engine = Engine(mock=True)
CA = os.path.join(engine.folder, "ca")


def certificates():
    """ca.pem signed server.pem, expired.pem and elsewhere.pem."""
    lib = os.path.join(HERE, "..", "lib", "make_ca.sh")
    subprocess.run(["sh", lib, CA], check=True)
    for name, host, days in (("expired", "localhost", "-1"),
                             ("elsewhere", "elsewhere.example", "1")):
        script = """
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
  -subj /CN=%(host)s -keyout k.pem -out c.csr 2>/dev/null
printf 'subjectAltName=DNS:%(host)s\\n' >e.ext
openssl x509 -req -in c.csr -CA ca.pem -CAkey ca.key -days %(days)s \
  -set_serial 7 -extfile e.ext -out c.pem 2>/dev/null
cat c.pem k.pem >%(name)s.pem
""" % {"host": host, "days": days, "name": name}
        subprocess.run(["sh", "-euc", script], cwd=CA, check=True)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, address):
        pass  # handshakes are meant to fail here

    def finish_request(self, request, address):
        context = getattr(self, "context", None)
        if context:
            request = context.wrap_socket(request, server_side=True)
        super().finish_request(request, address)


class Handler(http.server.BaseHTTPRequestHandler):
    """/STATUS/... answers with it; /html/... with a page; else a list."""
    protocol_version = "HTTP/1.1"

    def answer(self):
        length = int(self.headers.get("content-length") or 0)
        self.rfile.read(length)
        first = self.path.split("/")[1]
        status, kind, body = 200, "application/json", b'{"data":[{"id":"m"}]}'
        if first == "html":
            kind, body = "text/html", HTML
        elif first == "moved":
            status, body = 302, b""
        elif first.isdigit() or first == "evil":
            status = int(first) if first.isdigit() else 400
            body = SAID.get(first, b"{}")
        elif first == "reset":
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        elif first in ("silent", "stops"):
            if first == "stops":
                self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n"
                                 b"content-type: application/json\r\n\r\n{")
            OVER.wait(60)
            return
        elif self.path != "/v1/models":
            status, body = 404, b'{"error":{"message":"no such path"}}'
        self.send_response(status)
        self.send_header("content-type", kind)
        if first == "moved":
            self.send_header("location", "https://elsewhere.example/")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer

    def do_CONNECT(self):
        status = self.server.refuses
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


SAID = {
    "404": b'{"error":{"message":"model \'x\' not found"}}',
    "418": b'{"error":"an Ollama\'s words"}',
    "evil": b'{"error":{"message":"a\\u001b[2Jb"}}',
}
OVER = threading.Event()


def serve(pem=None, refuses=0):
    server = Server(("127.0.0.1", 0), Handler)
    server.refuses = refuses
    if pem:
        server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.context.load_cert_chain(os.path.join(CA, pem))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def mute():
    """Takes a connection and says nothing, not even of TLS."""
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    s.listen(8)
    KEPT.append(s)
    return s.getsockname()[1]


def closed():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


KEPT = []
certificates()
PLAIN, TLS = serve(), serve("server.pem")
EXPIRED, ELSEWHERE = serve("expired.pem"), serve("elsewhere.pem")
CLOSED, MUTE = closed(), mute()
REFUSING, FORBIDDING = serve(refuses=407), serve(refuses=403)
engine.start()


def said(endpoint, model=None, **keys):
    """The sentence of a failing test of a provider with these keys."""
    keys.setdefault("kind", "byo")
    if keys["kind"] == "byo":
        keys.setdefault("auth", "none")
        keys.setdefault("dialects", ["chat"])
    if endpoint and endpoint.startswith("http://"):
        keys["allow_http"] = True
    if endpoint:
        keys["endpoint"] = endpoint
    engine.call("provider.add", name="p", **keys)
    try:
        r = engine.call("provider.test", name="p",
                        **({"model": model} if model else {}))
    finally:
        engine.call("provider.remove", name="p")
    check(not r["ok"], "it went well: %r" % r)
    return r["text"]


def holds(text, *parts):
    for part in parts:
        check(part in text, "%r is not in: %s" % (part, text))
    print("     " + text)


def plain(path=""):
    return "http://127.0.0.1:%d%s" % (PLAIN, path)


def https(port, host="localhost", path=""):
    return "https://%s:%d%s" % (host, port, path)


def pem(name):
    return os.path.join(CA, name)

def proxied(port, host="127.0.0.1", **keys):
    return said("https://provider.example", proxy="http://%s:%d" % (host, port),
                **keys)


def what_cannot_be_connected():
    holds(said("https://no-such-host.invalid/v1"), "cannot be resolved",
          "no-such-host.invalid", "getent hosts")
    holds(said("http://127.0.0.1:%d" % CLOSED), "cannot be connected",
          "127.0.0.1 port %d" % CLOSED, "is it running")
    holds(said(https(MUTE), connect_timeout_s=1), "within 1 s",
          "connect_timeout_s", "firewall")


def what_tls_refuses():
    own = {"ca_file": pem("ca.pem")}
    holds(said(https(TLS)), "not trusted", "with ca_file (--ca-file)")
    holds(said(https(TLS), ca_file=pem("other.pem")), "not trusted",
          "no CA in the ca_file")
    holds(said(https(EXPIRED), **own), "has expired", "must renew", "clock")
    holds(said(https(ELSEWHERE), **own), "target host name 'localhost'",
          "for another name")
    holds(said(https(PLAIN), **own), "does not speak TLS", "http://")
    holds(said("http://localhost:%d" % TLS), "https, or http?")
    holds(said(https(TLS), ca_file=pem("ca.key")), "BEGIN CERTIFICATE")
    try:
        said(https(TLS), ca_file="/nonexistent.pem")
    except Refused as refused:
        check(refused.name == "not_found" and "cannot be read by the engine"
              in refused.message, refused.message)
    else:
        raise AssertionError("a ca_file that is not there was taken")
    check(engine.call("provider.list")["providers"][0]["name"] == "scripted",
          "a refused provider was written")


def what_answers_too_late():
    holds(said(plain("/silent"), first_byte_timeout_s=1), "within 1 s",
          "raise first_byte_timeout_s")
    holds(said(plain("/stops"), idle_timeout_s=1), "within 1 s",
          "raise idle_timeout_s")
    holds(said(plain("/reset")), "closed without an answer", "https, or http?")


def what_a_proxy_refuses():
    holds(proxied(1, "no-such-host.invalid"), "proxy's name", "proxy is spelled")
    holds(proxied(CLOSED), "port %d" % CLOSED, "that is the proxy")
    holds(proxied(FORBIDDING), "403", "runs the proxy allow CONNECT")
    holds(proxied(REFUSING), "407", "USER:PASSWORD", "name their secret with")
    engine.set_secret("corp", "ann:wrong")
    holds(proxied(REFUSING, proxy_secret="corp"), "refuses the secret")
    holds(proxied(MUTE, connect_timeout_s=1), "within 1 s", "a proxy stand")


def what_a_status_means():
    engine.set_secret("mine", "sk-0123456789abcdef")
    key = {"auth": "x-api-key", "secret": "mine"}
    holds(said(plain("/401"), **key), "HTTP 401: it refused the key",
          "`kenaz secret set mine`", 'auth = "x-api-key"')
    holds(said(plain("/401")), "HTTP 401: it wants a key", "--secret")
    holds(said(plain("/403"), **key), "HTTP 403", "`kenaz secret set mine`",
          "allow the model")
    holds(said(plain("/402"), **key), "HTTP 402", "credit")
    holds(said(plain("/404")), "HTTP 404", "a /v1 missing, or too much",
          "--model")
    # A version that the server does not have, and one too many.
    holds(said(plain("/v2")), "HTTP 404", "a /v1 missing, or too much")
    holds(said(plain("/404"), "x"), "HTTP 404", "no such path or model")
    holds(said(plain("/405")), "HTTP 405", "no such path")
    holds(said(plain("/400")), "HTTP 400", "check kind, dialects")
    holds(said(plain("/429")), "HTTP 429", "try again later")
    holds(said(plain("/500")), "HTTP 500", "failed by itself")
    holds(said(plain("/529")), "HTTP 529", "failed by itself")
    holds(said(plain("/moved")), "redirect", "the provider itself")
    engine.set_secret("aws", "AKIDEXAMPLE0123456:%s:TOKEN" % ("s" * 40))
    holds(said(plain("/403"), "anthropic.claude-haiku-4-5", kind="bedrock",
               region="eu-central-1", dialects=["converse"], auth="sigv4",
               secret="aws"),
          "HTTP 403: it refused the signature", "`kenaz secret import`")


def with_or_without_a_version():
    for path in ("", "/v1"):
        engine.call("provider.add", name="p", kind="byo", auth="none",
                    dialects=["chat"], allow_http=True, endpoint=plain(path))
        r = engine.call("provider.test", name="p")
        engine.call("provider.remove", name="p")
        check(r["ok"] and r["url"] == plain("/v1/models"), r)


def the_command_shows_where_and_in_whose_words():
    def run(path, *more):
        engine.call("provider.add", name="p", kind="byo", auth="none",
                    dialects=["chat"], allow_http=True, endpoint=plain(path))
        try:
            return cli("--socket", engine.path, *more, "provider", "test", "p")
        finally:
            engine.call("provider.remove", name="p")
    code, out, err = run("/404")
    check(code == 1 and "asked %s" % plain("/404/v1/models") in err and
          "its own words: model 'x' not found" in err, err)
    code, out, err = run("/html")
    check(code == 1 and "a page for a browser, not with JSON" in err, err)
    code, out, err = run("/evil")
    check("\x1b" not in out + err and "its own words: a\\x1b[2Jb" in err, err)
    code, out, err = run("/418", "-o", "json")
    r = json.loads(out)
    check(code == 1 and not r["ok"] and r["said"] == "an Ollama's words" and
          r["url"] == plain("/418/v1/models"), r)


def whoever_leaves_the_outcome_is_in_the_log():
    engine.call("provider.add", name="p", kind="byo", auth="none",
                dialects=["chat"], allow_http=True, endpoint=plain("/silent"),
                first_byte_timeout_s=1)
    last = max(e["attrs"]["kenaz.grant"]
               for e in engine.events(kind="prompt.sent"))
    c = engine.connect()
    c.sock.sendall(b'{"jsonrpc":"2.0","id":1,"method":"provider.test",'
                   b'"params":{"name":"p"}}\n')
    sent = engine.wait_event("prompt.sent", lambda e:
                             e["attrs"]["url.full"] == plain("/silent/v1/models")
                             and e["attrs"]["kenaz.grant"] > last)
    c.close()
    engine.open.remove(c)
    engine.wait_event("response.received", lambda e: e["attrs"]["kenaz.grant"]
                      == sent["attrs"]["kenaz.grant"])
    engine.call("provider.remove", name="p")


def nothing_is_left():
    OVER.set()
    check(engine.stop() == 0, "kenazd's exit code")
    engine.clean()


main(what_cannot_be_connected, what_tls_refuses, what_answers_too_late,
     what_a_proxy_refuses, what_a_status_means, with_or_without_a_version,
     the_command_shows_where_and_in_whose_words,
     whoever_leaves_the_outcome_is_in_the_log, nothing_is_left)
