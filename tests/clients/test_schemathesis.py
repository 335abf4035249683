"""Requests of all kinds, made from the served OpenAPI documents by schemathesis: none may end in a 5xx."""

import os
import subprocess
import sys

import pytest

# Streams do not end by themselves, which is all that schemathesis could find out about them.
STREAMS = ":watch$"
EXAMPLES_MAX = os.environ.get("BOWLINE_SCHEMATHESIS_EXAMPLES", "12")


@pytest.mark.parametrize(
    "document",
    [
        "devices.example.com/v1",
        "secrets.example.com/v1",
        "secrets.example.com/v1alpha2",
        "iam.example.com/v1",
        "applications.example.com/v1",
    ],
)
def test_no_request_ends_in_a_server_error(fleet, document, tmp_path):
    program = os.path.join(os.path.dirname(sys.executable), "schemathesis")
    command = [
        program, "run", f"{fleet.url}/openapi/{document}.json", "--url", fleet.url,
        "--checks", "not_a_server_error", "--exclude-path-regex", STREAMS,
        "--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES_MAX,
        "--seed", "7", "--generation-database", "none", "--request-timeout", "20", "--suppress-health-check", "all",
        "--workers", "1", "--no-color",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "No issues found" in done.stdout or "passed" in done.stdout, done.stdout[-2000:]
