"""Google's published client library for Secret Manager, unchanged, against Bowline."""

import pytest
from google.api_core import exceptions
from google.cloud import secretmanager_v1 as sm
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceGrpcTransport
from google.protobuf.field_mask_pb2 import FieldMask

PARENT = "projects/secret-tests"


@pytest.fixture(scope="module")
def client(google):
    return sm.SecretManagerServiceClient(transport=SecretManagerServiceGrpcTransport(channel=google.channel()))


def create(client, secret_id, **fields):
    secret = sm.Secret(replication=sm.Replication(automatic=sm.Replication.Automatic()), **fields)
    return client.create_secret(parent=PARENT, secret_id=secret_id, secret=secret)


def test_a_created_secret_is_read_back(client):
    created = create(client, "read-back", labels={"env": "test"})
    assert created.name == f"{PARENT}/secrets/read-back"
    assert created.create_time is not None
    assert created.etag
    assert client.get_secret(name=created.name) == created


def test_a_second_create_is_refused(client):
    create(client, "twice")
    with pytest.raises(exceptions.AlreadyExists):
        create(client, "twice")


def test_a_missing_secret_is_not_found_with_details(client):
    with pytest.raises(exceptions.NotFound) as caught:
        client.get_secret(name=f"{PARENT}/secrets/nobody")
    assert caught.value.reason == "RESOURCE_NOT_FOUND"
    assert caught.value.domain == "bowline"


def test_an_update_changes_only_what_the_mask_names(client):
    secret = create(client, "updated", labels={"env": "test"}, annotations={"owner": "me"})
    secret.labels = {"env": "prod"}
    secret.annotations = {"owner": "somebody else"}
    updated = client.update_secret(secret=secret, update_mask=FieldMask(paths=["labels"]))
    assert dict(updated.labels) == {"env": "prod"}
    assert dict(updated.annotations) == {"owner": "me"}
    assert updated.create_time == secret.create_time


def test_an_update_with_an_old_etag_is_refused(client):
    secret = create(client, "guarded")
    old = secret.etag
    secret.labels = {"round": "1"}
    assert client.update_secret(secret=secret, update_mask=FieldMask(paths=["labels"])).etag != old
    secret.labels = {"round": "2"}
    secret.etag = old
    with pytest.raises(exceptions.Aborted):
        client.update_secret(secret=secret, update_mask=FieldMask(paths=["labels"]))


def test_pages_hold_every_secret_exactly_once(client):
    parent = "projects/paging"
    secret = sm.Secret(replication=sm.Replication(automatic=sm.Replication.Automatic()))
    wanted = {client.create_secret(parent=parent, secret_id=f"s{n}", secret=secret).name for n in range(7)}
    pages = list(client.list_secrets(request=sm.ListSecretsRequest(parent=parent, page_size=3)).pages)
    assert [len(page.secrets) for page in pages] == [3, 3, 1]
    listed = [secret.name for page in pages for secret in page.secrets]
    assert listed == sorted(wanted)


def test_a_filter_selects(client):
    create(client, "filtered-in", labels={"kind": "wanted"})
    create(client, "filtered-out", labels={"kind": "other"})
    found = client.list_secrets(request=sm.ListSecretsRequest(parent=PARENT, filter="labels.kind=wanted"))
    assert [secret.name for secret in found] == [f"{PARENT}/secrets/filtered-in"]


def test_a_bad_filter_is_the_callers_mistake(client):
    with pytest.raises(exceptions.InvalidArgument) as caught:
        list(client.list_secrets(request=sm.ListSecretsRequest(parent=PARENT, filter="no_such_field = 1")))
    assert caught.value.reason == "INVALID_FILTER"


def test_secrets_of_a_location_are_another_collection(client):
    parent = f"{PARENT}/locations/eu"
    created = client.create_secret(parent=parent, secret_id="regional", secret=sm.Secret())
    assert created.name == f"{parent}/secrets/regional"
    assert [secret.name for secret in client.list_secrets(parent=parent)] == [created.name]
    assert created.name not in [secret.name for secret in client.list_secrets(parent=PARENT)]


def test_a_deleted_secret_is_gone(client):
    name = create(client, "deleted").name
    client.delete_secret(name=name)
    with pytest.raises(exceptions.NotFound):
        client.get_secret(name=name)
    with pytest.raises(exceptions.NotFound):
        client.delete_secret(name=name)


def test_a_method_that_is_not_standard_says_so(client):
    name = create(client, "no-versions").name
    with pytest.raises(exceptions.MethodNotImplemented):
        client.add_secret_version(parent=name, payload=sm.SecretPayload(data=b"x"))
