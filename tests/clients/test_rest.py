"""REST, by `curl` as in the README and by a plain HTTP library: standard methods, watch, errors, OpenAPI."""

import json
import subprocess
import threading

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

SITES = "/v1/projects/rest-tests/regions/eu/sites"


def curl(fleet, *arguments):
    """Runs curl and gives (status, decoded JSON)."""
    command = ["curl", "--silent", "--show-error", "--max-time", "30", "--write-out", "\n%{http_code}"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=True)
    body, status = done.stdout.rsplit("\n", 1)
    return int(status), json.loads(body)


def site(name, **fields):
    return {"name": f"{SITES.removeprefix('/v1/')}/{name}", "displayName": name, **fields}


def test_curl_goes_through_the_whole_round(fleet):
    url = f"{fleet.url}/v1/projects/curl/regions/eu/sites"
    header = ["--header", "content-type: application/json"]
    body = json.dumps({"displayName": "Harbour", "timeZone": "Europe/Berlin"})
    status, created = curl(fleet, "--data", body, *header, f"{url}?siteId=harbour")
    assert (status, created["name"]) == (200, "projects/curl/regions/eu/sites/harbour")
    assert curl(fleet, f"{url}/harbour") == (200, created)
    status, listed = curl(fleet, url)
    assert (status, listed["sites"]) == (200, [created])
    body = json.dumps({"displayName": "Old harbour"})
    status, updated = curl(fleet, "--request", "PUT", "--data", body, *header, f"{url}/harbour?updateMask=displayName")
    assert (status, updated["displayName"], updated["timeZone"]) == (200, "Old harbour", "Europe/Berlin")
    assert curl(fleet, "--request", "DELETE", f"{url}/harbour") == (200, {})
    status, error = curl(fleet, f"{url}/harbour")
    assert (status, error["error"]["status"]) == (404, "NOT_FOUND")


def test_pages_follow_each_other(http):
    for n in range(5):
        assert http.post(f"{SITES}?siteId=page-{n}", json={"displayName": f"Page {n}"}).status_code == 200
    sizes, names, token = [], [], ""
    while True:
        query = {"pageSize": 2, "pageToken": token, "filter": 'display_name LIKE "Page%"'}
        page = http.get(SITES, params=query).json()
        sizes.append(len(page["sites"]))
        names += [found["name"].rsplit("/", 1)[1] for found in page["sites"]]
        if not (token := page.get("nextPageToken")):
            break
    assert sizes == [2, 2, 1]
    assert names == [f"page-{n}" for n in range(5)]


def test_a_token_of_another_query_is_refused(http):
    http.post(f"{SITES}?siteId=token-1", json={"displayName": "One"})
    http.post(f"{SITES}?siteId=token-2", json={"displayName": "Two"})
    token = http.get(SITES, params={"pageSize": 1}).json()["nextPageToken"]
    answer = http.get(SITES, params={"pageSize": 1, "pageToken": token, "orderBy": "display_name"})
    assert answer.status_code == 400
    assert reason(answer) == "INVALID_PAGE_TOKEN"


def reason(answer):
    details = answer.json()["error"]["details"]
    return next(d["reason"] for d in details if d["@type"].endswith("google.rpc.ErrorInfo"))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"displayName": 7}', "MALFORMED_BODY"),
        ('{"displayName": "x"', "MALFORMED_BODY"),
        ('{"displayName": "x", "nonsense": 1}', "MALFORMED_BODY"),
        ("[" * 5000, "MALFORMED_BODY"),
        ("{}", "INVALID_FIELD"),
    ],
)
def test_a_bad_body_is_the_callers_mistake(http, body, expected):
    answer = http.post(f"{SITES}?siteId=bad", data=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert reason(answer) == expected
    assert http.get(f"{SITES}/bad").status_code == 404


def test_a_body_over_the_limit_is_refused(http):
    answer = http.post(f"{SITES}?siteId=big", json={"displayName": "x" * (5 << 20)})
    assert answer.status_code == 400
    assert reason(answer) == "LIMIT_EXCEEDED"


def test_an_unknown_path_and_a_wrong_method_are_told_apart(http):
    answer = http.get("/v1/nothing/here/at/all")
    assert (answer.status_code, reason(answer)) == (404, "METHOD_NOT_FOUND")
    answer = http.patch("/v1/projects:batchGet")
    assert answer.status_code in (404, 405)


def test_a_watch_tells_of_each_change_in_order(http):
    parent = "/v1/projects/watched/regions/eu/sites"
    http.post(f"{parent}?siteId=first", json={"displayName": "First"})
    with http.post(f"{parent}:watch", json={"type": "STATELESS"}, stream=True) as stream:
        assert stream.status_code == 200
        lines = (json.loads(line) for line in stream.iter_lines() if line)
        assert changes_until_current(lines) == [("current", "first", "First")]
        change = threading.Thread(target=change_sites, args=(http, parent))
        change.start()
        seen = []
        while len(seen) < 3:
            seen += changes_until_current(lines)
        change.join()
    assert seen == [("current", "second", "Second"), ("current", "first", "Changed"), ("removed", "second", None)]


def change_sites(http, parent):
    http.post(f"{parent}?siteId=second", json={"displayName": "Second"}).raise_for_status()
    http.put(f"{parent}/first?updateMask=displayName", json={"displayName": "Changed"}).raise_for_status()
    http.delete(f"{parent}/second").raise_for_status()


def changes_until_current(lines):
    """(what, id, display name) of each change up to the next consistent cut."""
    seen = []
    for message in lines:
        for change in message.get("siteChanges", []):
            [(what, value)] = change.items()
            name = value.get("site", value)["name"].rsplit("/", 1)[1]
            seen.append((what, name, value.get("site", {}).get("displayName")))
        if message.get("isCurrent"):
            assert message["resumeToken"]
            return seen
    raise AssertionError("the stream ended")


def test_every_openapi_document_is_valid(http):
    documents = openapi_documents(http)
    assert len(documents) == 5
    for path in documents:
        document = http.get(path).json()
        assert document["openapi"].startswith("3.1")
        OpenAPIV31SpecValidator(document).validate()
        assert document["paths"]


def openapi_documents(http):
    services = {"iam": ["v1"], "secrets": ["v1alpha2", "v1"], "devices": ["v1"], "applications": ["v1"]}
    return [f"/openapi/{name}.example.com/{v}.json" for name, versions in services.items() for v in versions]
