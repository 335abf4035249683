"""Requests of all kinds, made from the served OpenAPI documents by schemathesis: none may end in a 5xx.

Answers also have to be what the documents say: status codes, content types, headers and schemas of bodies.
"""

import os
import re
import subprocess
import sys

import pytest

# Streams do not end by themselves, which is all that schemathesis could find out about them.
STREAMS = ":watch$"
EXAMPLES_MAX = os.environ.get("BOWLINE_SCHEMATHESIS_EXAMPLES", "8")

# Not among them: that every request which fits the document succeeds. A document cannot say all that a request needs, for
# example that two fields exclude each other.
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
]


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
        "--checks", ",".join(CHECKS), "--exclude-path-regex", STREAMS,
        "--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES_MAX,
        "--seed", "7", "--generation-database", "none", "--request-timeout", "20", "--suppress-health-check", "all",
        "--workers", "1", "--no-color",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    # A run that tested nothing would pass as well.
    tested = re.search(r"Tested: (\d+)", done.stdout)
    assert tested and int(tested[1]) >= 5, done.stdout[-2000:]
