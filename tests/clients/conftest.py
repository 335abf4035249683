"""A Bowline server for the client tests: started once, on a port of its own, with data in a temporary folder.

The tests use it as any client would. Nothing here or in the tests knows how Bowline works inside.
"""

import os
import pathlib
import queue
import signal
import subprocess
import threading

import grpc
import pytest
import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]
READY = "ready on http://"
PATIENCE_SECONDS = 60

# Google's own protos, by folder in the npm package google-proto-files.
GOOGLE_SERVICES = [
    "google/cloud/secretmanager/v1",
    "google/pubsub/v1",
    "google/cloud/kms/v1",
    "google/cloud/resourcemanager/v3",
]


def find_program() -> pathlib.Path:
    if given := os.environ.get("BOWLINE_BIN"):
        return pathlib.Path(given)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    for profile in ["debug", "release"]:
        if (found := target / profile / "bowline").is_file():
            return found
    pytest.exit("there is no bowline program; run `./x test`, or `cargo build -p bowline` first", returncode=3)


def find_google_protos() -> pathlib.Path:
    if given := os.environ.get("BOWLINE_PROTOS"):
        return pathlib.Path(given)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    for found in sorted(target.glob("corpus/google-proto-files@*/package")):
        return found
    pytest.exit("Google's protos are not here; run `./x setup` first", returncode=3)


class Server:
    """A running `bowline up`; `address` is host:port, `url` the same for HTTP."""

    def __init__(self, folders, data: pathlib.Path):
        self.log = data.with_suffix(".log")
        command = [find_program(), "up", *folders, "--listen", "127.0.0.1:0", "--data", data]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True
            )
        self.address = self._wait_until_ready()
        self.url = f"http://{self.address}"

    def _wait_until_ready(self) -> str:
        lines: queue.Queue[str] = queue.Queue()

        def read():
            for line in self.process.stdout:
                lines.put(line)
            lines.put("")

        threading.Thread(target=read, daemon=True).start()
        while line := lines.get(timeout=PATIENCE_SECONDS):
            if line.startswith(READY):
                return line.removeprefix(READY).strip()
        self.process.wait(timeout=PATIENCE_SECONDS)
        raise RuntimeError(f"the server ended early with {self.process.returncode}:\n{self.log.read_text()}")

    def channel(self) -> grpc.Channel:
        return grpc.insecure_channel(self.address)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=PATIENCE_SECONDS)
        finally:
            self.process.kill()


def serve(folders, data: pathlib.Path):
    """Yields a server, and demands that it ends cleanly and never met what should be impossible."""
    server = Server(folders, data)
    yield server
    assert server.stop() == 0, server.log.read_text()
    bad = [line for line in server.log.read_text().splitlines() if " ERROR " in line or "panicked" in line]
    assert not bad, bad


@pytest.fixture(scope="session")
def google(tmp_path_factory):
    """Serves Google's own protos, exactly as they are published."""
    protos = find_google_protos()
    folders = [protos / service for service in GOOGLE_SERVICES]
    missing = [folder for folder in folders if not folder.is_dir()]
    assert not missing, missing
    yield from serve(folders, tmp_path_factory.mktemp("google") / "data")


PROJECTS = ["curl", "rest-tests", "watched"]


@pytest.fixture(scope="session")
def fleet(tmp_path_factory):
    """Serves the fleet example, without its sample data: only the projects that tests work in."""
    serving = serve([ROOT / "examples/fleet"], tmp_path_factory.mktemp("fleet") / "data")
    server = next(serving)
    make_projects(server)
    yield server
    yield from serving


def make_projects(server):
    def create(collection, parameter, resource_id, body):
        url = f"{server.url}/v1/{collection}?{parameter}={resource_id}"
        requests.post(url, json=body, timeout=PATIENCE_SECONDS).raise_for_status()

    create("organizations", "organizationId", "tests", {"displayName": "Tests"})
    for project in PROJECTS:
        body = {"displayName": project, "organization": "organizations/tests"}
        create("projects", "projectId", project, body)


@pytest.fixture(scope="session")
def http(fleet):
    """A session that speaks to the fleet: `http.get("/v1/projects/p")`."""

    class Session(requests.Session):
        def request(self, method, path, **options):
            options.setdefault("timeout", PATIENCE_SECONDS)
            return super().request(method, fleet.url + path, **options)

    with Session() as session:
        yield session
