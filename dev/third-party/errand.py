"""Starts Errand with another model server, and chats with it. For the scripts beside this file.

Everything runs on 127.0.0.1 with free ports, and is stopped by process id at the end. Packages and logs are in a temporary directory, which
remains if a check fails.
"""
import json
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import venv

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAMS = ["errand-api", "errand-worker", "errand-model", "errand-quickstart"]
READY_SECONDS = 180
CHAT_SECONDS = 280
STOP_SECONDS = 40


def with_services(script):
    """Builds the programs and runs the script again with a private Postgres and Redis, unless it already has them."""
    if os.environ.get("ERRAND_THIRD_PARTY") == "1":
        return
    os.chdir(ROOT)
    environment = {**os.environ, "SQLX_OFFLINE": "true"}
    # The whole workspace has one set of features, so this build is the one that tests use.
    build = ["cargo", "build", "--workspace", "--bins"]
    subprocess.run(build, check=True, env=environment)
    quickstart = str(ROOT / "target/debug/errand-quickstart")
    command = [quickstart, "services", "--", "env", "ERRAND_THIRD_PARTY=1", sys.executable, script, *sys.argv[1:]]
    os.execvpe(quickstart, command, environment)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def request(url, body=None, headers=None, timeout=10):
    """Returns the status and the body of a response."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **(headers or {})}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=timeout) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


class Stack:
    """A model server and Errand. A context manager: at the end, every program that it started is stopped."""

    def __init__(self, directory=None):
        self.is_temporary = directory is None
        self.directory = pathlib.Path(directory or tempfile.mkdtemp(prefix="errand-third-party-")).resolve()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.processes = []
        self.api_port = free_port()

    def __enter__(self):
        # SIGTERM must also stop the programs.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        return self

    def __exit__(self, failure, *_):
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self.is_temporary and failure is None:
            shutil.rmtree(self.directory)
        elif failure is not None:
            print(f"The logs are in {self.directory}.", file=sys.stderr)

    def packages(self, *names, environment=None):
        """Installs PyPI packages into a virtual environment and returns its `bin` directory."""
        folder = self.directory / "venv"
        if not folder.exists():
            venv.create(folder, with_pip=True)
        pip = [folder / "bin/pip", "install", "--quiet", "--disable-pip-version-check", *names]
        subprocess.run(pip, check=True, env={**os.environ, **(environment or {})})
        return folder / "bin"

    def start(self, name, command, ready_url, environment=None):
        """Starts a program and waits until a request to `ready_url` succeeds. A variable that is None is removed."""
        variables = {**os.environ, **(environment or {})}
        log = self.directory / f"{name}.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [str(part) for part in command],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=self.directory,
                env={name: value for name, value in variables.items() if value is not None},
            )
        self.processes.append(process)
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                sys.exit(f"{name} ended:\n{log.read_text()[-4000:]}")
            try:
                if request(ready_url, timeout=5)[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.2)
        sys.exit(f"{name} was not ready in {READY_SECONDS} s:\n{log.read_text()[-4000:]}")

    def start_errand(self, model_environment):
        """Starts API and worker; the settings are those of the model."""
        admin_ports = free_port(), free_port()
        environment = {"JWT_SECRET": secrets.token_hex(32), "LISTEN_ADDR": f"127.0.0.1:{self.api_port}"}
        agents = {name: value for name, value in model_environment.items() if name == "AGENTS_FILE"}
        api = {**environment, **agents, "ADMIN_LISTEN_ADDR": f"127.0.0.1:{admin_ports[0]}"}
        worker = {**model_environment, "ADMIN_LISTEN_ADDR": f"127.0.0.1:{admin_ports[1]}"}
        programs = ROOT / "target/debug"
        self.start("api", [programs / "errand-api"], f"http://127.0.0.1:{self.api_port}/readyz", api)
        self.start("worker", [programs / "errand-worker"], f"http://127.0.0.1:{admin_ports[1]}/readyz", worker)

    def check_model(self, model_environment):
        """Runs `errand-worker check-model`; returns its exit code, table and error."""
        ended = subprocess.run(
            [ROOT / "target/debug/errand-worker", "check-model"],
            env={**model_environment, "PATH": os.environ["PATH"]},
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=CHAT_SECONDS,
        )
        return ended.returncode, ended.stdout, ended.stderr

    def user(self):
        base = f"http://127.0.0.1:{self.api_port}"
        account = {"email": f"{secrets.token_hex(8)}@example.com", "password": secrets.token_hex(16), "name": "Ada"}
        status, body = request(f"{base}/auth/register", account)
        if status not in (200, 201):
            sys.exit(f"register: {status} {body}")
        session = json.loads(body)
        return User(base, session["user"]["id"], session["access_token"])


class User:
    """A user with an empty to-do list."""

    def __init__(self, base, user_id, token):
        self.base = f"{base}/api/{user_id}"
        self.headers = {"Authorization": f"Bearer {token}"}

    def chat(self, message, **members):
        """Returns the status and the answer."""
        url = f"{self.base}/chat?wait={CHAT_SECONDS}"
        status, body = request(url, {"message": message, **members}, self.headers, CHAT_SECONDS + 10)
        return status, json.loads(body)

    def stream(self, message, on_event=lambda name, data: None, **members):
        """Chats with a stream of events and returns them as pairs of name and data."""
        headers = {**self.headers, "Content-Type": "application/json", "Accept": "text/event-stream"}
        data = json.dumps({"message": message, **members}).encode()
        events, name = [], None
        chat = urllib.request.Request(f"{self.base}/chat", data, headers)
        with urllib.request.urlopen(chat, timeout=CHAT_SECONDS) as response:
            for line in response:
                line = line.decode().rstrip("\n")
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    events.append((name, json.loads(line.removeprefix("data: "))))
                    on_event(*events[-1])
        return events

    def get(self, path):
        status, body = request(f"{self.base}{path}", headers=self.headers)
        return status, json.loads(body)

    def post(self, path, body=None):
        status, text = request(f"{self.base}{path}", body or {}, self.headers)
        return status, json.loads(text or "{}")

    def titles(self):
        """The titles of the tasks, sorted."""
        status, body = self.get("/tasks")
        if status != 200:
            sys.exit(f"tasks: {status} {body}")
        return sorted(task["title"] for task in body["items"])


def text_of(events):
    """The text that a subscriber shows."""
    text = ""
    for name, event in events:
        if name == "message.delta":
            text += event["data"]["text"]
        elif name == "message.reset":
            text = event["data"]["text"]
    return text


def expect(is_so, what, seen=""):
    """Prints a passed check, and ends the script at a failed one."""
    if not is_so:
        sys.exit(f"FAILED: {what}: {seen}")
    print(f"passed: {what}", flush=True)
