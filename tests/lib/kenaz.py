# SPDX-License-Identifier: Apache-2.0
"""Start a real engine in a folder of its own and speak to it.

Used by tests/scenario/*.py. Nothing is mocked: the programs are those of
build/bin, the guests are QEMU's (or kenaz-guestd with mock=True).
"""

import atexit
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("KENAZ_BIN", os.path.join(TOP, "build", "bin"))
IMAGES = os.environ.get("KENAZ_IMAGES", os.path.join(TOP, "build", "image"))
DEADLINE_S = 60
BOOT_S = 120

DATA, EOF, RESIZE, SIGNAL, EXIT, ERROR = 1, 2, 3, 4, 5, 6


class Refused(Exception):
    def __init__(self, error):
        super().__init__(error.get("message"))
        self.error = error
        self.message = error.get("message", "")
        self.name = error.get("data", {}).get("name")
        self.exit = error.get("data", {}).get("exit")
        self.rule = error.get("data", {}).get("rule")


class Failure(Exception):
    pass


def check(condition, text):
    if not condition:
        raise Failure(text)


def wait_for(what, fn, seconds=DEADLINE_S):
    """Poll fn until it gives something true."""
    end = time.monotonic() + seconds
    while True:
        value = fn()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure("timed out waiting for " + what)
        time.sleep(0.02)


class Connection:
    """One control connection."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(BOOT_S)
        self.sock.connect(path)
        self.buffer = b""
        self.next_id = 1
        self.notes = []

    def line(self):
        while b"\n" not in self.buffer:
            more = self.sock.recv(65536)
            if not more:
                raise Failure("the engine closed the connection")
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def call(self, method, **params):
        number = self.next_id
        self.next_id += 1
        request = {"jsonrpc": "2.0", "id": number, "method": method,
                   "params": params}
        self.sock.sendall(json.dumps(request).encode() + b"\n")
        while True:
            answer = self.line()
            if "method" in answer:
                self.notes.append(answer)
                continue
            check(answer["id"] == number, "answer to another request")
            if "error" in answer:
                raise Refused(answer["error"])
            return answer["result"]

    def close(self):
        self.sock.close()


class Terminal:
    """A connection that became a terminal."""

    def __init__(self, connection):
        self.sock = connection.sock
        self.buffer = connection.buffer

    def send(self, kind, stream=0, data=b""):
        self.sock.sendall(struct.pack("<BBHI", kind, stream, 0, len(data)) + data)

    def frame(self):
        while True:
            if len(self.buffer) >= 8:
                kind, stream, _, size = struct.unpack("<BBHI", self.buffer[:8])
                if len(self.buffer) >= 8 + size:
                    data = self.buffer[8:8 + size]
                    self.buffer = self.buffer[8 + size:]
                    return kind, stream, data
            more = self.sock.recv(65536)
            if not more:
                return None
            self.buffer += more

    def finish(self, stdin=b""):
        """Feed stdin, then read to the end: (code, stdout, stderr)."""
        try:
            for at in range(0, len(stdin), 16384):
                self.send(DATA, 0, stdin[at:at + 16384])
            self.send(EOF)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it ended first; what it said is still to be read
        out, err = b"", b""
        while True:
            frame = self.frame()
            if frame is None:
                raise Failure("the terminal closed without an exit; got %r %r"
                              % (out, err))
            kind, stream, data = frame
            if kind == DATA:
                if stream == 2:
                    err += data
                else:
                    out += data
            elif kind == EXIT:
                code, signalled = struct.unpack("<iB", data)
                self.sock.close()
                return (128 + code if signalled else code), out, err
            elif kind == ERROR:
                self.sock.close()
                raise Failure("terminal error: " + data.decode())

    def read_until(self, text):
        out = b""
        while text not in out:
            frame = self.frame()
            if frame is None or frame[0] in (EXIT, ERROR):
                raise Failure("the terminal ended before %r; got %r" % (text, out))
            if frame[0] == DATA:
                out += frame[2]
        return out


class Engine:
    def __init__(self, mock=False, config=None, policy=None, options=(),
                 folder=None, env=None, wrap=()):
        self.folder = folder or tempfile.mkdtemp(prefix="kz-")
        self.owns_folder = folder is None
        self.config_dir = os.path.join(self.folder, "c")
        self.state = os.path.join(self.folder, "s")
        self.runtime = os.path.join(self.folder, "r")
        os.makedirs(self.config_dir, exist_ok=True)
        # A template made in the background is no part of most tests, which
        # count processes and kill them.
        if not os.path.exists(os.path.join(self.config_dir, "kenaz.toml")) or \
                config is not None:
            config = config or ""
            if "[pool]" not in config:
                config += '\n[pool]\nstart = "cold"\n'
            self.write("kenaz.toml", config)
        if policy is not None:
            self.write("policy.toml", policy)
        self.path = os.path.join(self.runtime, "kenazd.sock")
        self.options = list(options)
        if mock:
            self.options.append("--dev-mock-vm")
        self.env = dict(os.environ, **(env or {}))
        self.wrap = list(wrap)
        self.process = None
        self.log_path = os.path.join(self.folder, "kenazd.log")
        self.open = []

    def write(self, name, text):
        # Most tests want a vault that opens by itself.
        if name == "kenaz.toml" and "[vault]" not in text:
            text += '\n[vault]\nbackend = "keyfile"\n'
        with open(os.path.join(self.config_dir, name), "w") as f:
            f.write(text)

    def command(self):
        return self.wrap + [os.path.join(BIN, "kenazd"),
                            "--config-dir", self.config_dir,
                            "--state-dir", self.state,
                            "--runtime-dir", self.runtime,
                            "--image-dir", IMAGES, "-v"] + self.options

    def start(self, wait=True):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log,
                                            stderr=log, stdin=subprocess.DEVNULL,
                                            env=self.env)
        atexit.register(self.last_resort, self.process)
        if wait:
            wait_for("the control socket", self.answers, 30)
        return self

    @staticmethod
    def last_resort(process):
        """A test that broke leaves no engine; its children follow it."""
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()

    def answers(self):
        if self.process.poll() is not None:
            raise Failure("kenazd ended with %s:\n%s"
                          % (self.process.returncode, self.log()))
        try:
            Connection(self.path).close()
            return True
        except OSError:
            return False

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def connect(self):
        c = Connection(self.path)
        self.open.append(c)
        return c

    def call(self, method, **params):
        c = Connection(self.path)
        try:
            return c.call(method, **params)
        finally:
            c.close()

    def session(self, **params):
        """Start a session that lives as long as its connection."""
        c = self.connect()
        result = c.call("session.start", **dict({"detach": False}, **params))
        return result["session"], c, result

    def terminal(self, session, argv, **params):
        c = Connection(self.path)
        c.call("session.exec", session=session, argv=argv,
               **dict({"tty": False}, **params))
        return Terminal(c)

    def run(self, session, argv, stdin=b"", **params):
        return self.terminal(session, argv, **params).finish(stdin)

    def events(self, **filters):
        found, start = [], 0
        while True:
            page = self.call("audit.list", **dict({"from": start, "limit": 500},
                                                  **filters))
            found += page["events"]
            if "next" not in page:
                return found
            start = page["next"]

    def doctor(self, name):
        """The doctor's checks of that name."""
        return [c for c in self.call("doctor")["checks"] if c["id"] == name]

    def wait_event(self, kind, test=lambda e: True, **filters):
        def look():
            try:
                for e in self.events(kind=kind, **filters):
                    if test(e):
                        return e
            except Refused as refused:
                if refused.name != "storage":  # audit is being restarted
                    raise
            return None
        return wait_for("an event " + kind, look)

    def type_secrets(self, method, *lines, **params):
        """What a person types goes over the socket, past core."""
        c = Connection(self.path)
        try:
            c.call(method, **params)
            c.sock.sendall(b"".join(line.encode() + b"\n" for line in lines))
            c.sock.shutdown(socket.SHUT_WR)
            answer = c.line()
        finally:
            c.close()
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["result"]

    def set_secret(self, name, value):
        return self.type_secrets("secret.set", value, name=name)

    def tree(self):
        """Every process that descends from kenazd: {pid: (name, ppid)}."""
        parents = {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open("/proc/%s/stat" % entry) as f:
                    text = f.read()
                name = os.path.basename(os.readlink("/proc/%s/exe" % entry))
            except OSError:
                continue
            parents[int(entry)] = (name.replace(" (deleted)", ""),
                                   int(text.rsplit(")", 1)[1].split()[1]))
        found = {}
        grew = {self.process.pid}
        while grew:
            found.update({p: parents[p] for p in grew if p in parents})
            grew = {p for p, (_, parent) in parents.items()
                    if parent in found and p not in found}
        return found

    def pids(self, name):
        return sorted(p for p, (n, _) in self.tree().items() if n == name)

    def stop(self):
        """End the engine and check that nothing of it is left."""
        for c in self.open:
            c.close()
        self.open = []
        if not self.process:
            return 0
        tree = self.tree() if self.process.poll() is None else {}
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise Failure("kenazd did not stop:\n" + self.log())
        wait_for("its processes to end",
                 lambda: not [p for p in tree if alive(p)], 20)
        code = self.process.returncode
        self.process = None
        return code

    def crash(self):
        """SIGKILL core alone; what it leaves is the test's to look at."""
        tree = self.tree()
        self.process.kill()
        self.process.wait()
        self.process = None
        return tree

    def verify(self, *options):
        return subprocess.run([os.path.join(BIN, "kenaz-verify"), "--log",
                               os.path.join(self.state, "log"), "--anchor",
                               os.path.join(self.state, "anchor", "anchor.note"), *options],
                              capture_output=True, text=True)

    def clean(self):
        if self.owns_folder:
            shutil.rmtree(self.folder, ignore_errors=True)


class FakeProvider:
    """tests/lib/fake_provider.py, which writes down what it is asked."""

    def __init__(self, folder, *options, seconds=580):
        self.record = os.path.join(folder,
                                   "requests-%d.jsonl" % time.monotonic_ns())
        self.process = subprocess.Popen(
            [sys.executable, os.path.join(TOP, "tests/lib/fake_provider.py"),
             "--record", self.record, "--seconds", str(seconds), *options],
            stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def config(self, more=""):
        return """
[[provider]]
name = "anthropic"
kind = "anthropic"
secret = "anthropic"
endpoint = "http://127.0.0.1:%d"
allow_http = true
%s""" % (self.port, more)

    def requests(self):
        try:
            with open(self.record) as f:
                return [r for r in map(json.loads, f)
                        if r["event"] == "request"]
        except OSError:
            return []

    def stop(self):
        self.process.kill()
        self.process.wait()


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def cli(*args, env=None, stdin=b"", timeout=180):
    """Run the kenaz command; gives (code, stdout, stderr) as text."""
    r = subprocess.run([os.path.join(BIN, "kenaz"), *args], input=stdin,
                       capture_output=True, timeout=timeout,
                       env=dict(os.environ, **(env or {})))
    return (r.returncode, r.stdout.decode(errors="replace"),
            r.stderr.decode(errors="replace"))


def have_image(name="mini"):
    return os.path.exists(os.path.join(IMAGES, name, "manifest.json"))


# `make check-launcher`: the cases of a scenario that only go deeper, too.
DEPTH = bool(os.environ.get("KENAZ_TEST_DEPTH"))


def main(*tests, depth=()):
    """Run each test with a line of its own; exit as the runner expects.

    Those in depth run with KENAZ_TEST_DEPTH set, or when they are named.
    """
    only = sys.argv[1:]
    failed = 0
    for test in tests + tuple(depth if DEPTH or only else ()):
        if only and test.__name__ not in only:
            continue
        begin = time.monotonic()
        try:
            test()
        except Exception as e:  # noqa: BLE001: a test's failure, whatever it is
            failed += 1
            if not isinstance(e, Failure):
                import traceback
                traceback.print_exc()
            print("FAIL %s: %s" % (test.__name__, e))
        else:
            print("ok   %s (%.1f s)" % (test.__name__, time.monotonic() - begin))
        sys.stdout.flush()
    sys.exit(1 if failed else 0)
