"""Google's published client library for Cloud KMS, unchanged, against Bowline: three levels of parents, and a delete that is an operation."""

import pytest
from google.api_core import exceptions
from google.cloud import kms_v1 as kms
from google.cloud.kms_v1.services.key_management_service.transports import KeyManagementServiceGrpcTransport
from google.protobuf.field_mask_pb2 import FieldMask

LOCATION = "projects/kms-tests/locations/eu"


@pytest.fixture(scope="module")
def client(google):
    return kms.KeyManagementServiceClient(transport=KeyManagementServiceGrpcTransport(channel=google.channel()))


@pytest.fixture(scope="module")
def ring(client):
    return client.create_key_ring(parent=LOCATION, key_ring_id="ring", key_ring=kms.KeyRing()).name


def create(client, ring, key_id, **fields):
    key = kms.CryptoKey(purpose=kms.CryptoKey.CryptoKeyPurpose.ENCRYPT_DECRYPT, **fields)
    return client.create_crypto_key(parent=ring, crypto_key_id=key_id, crypto_key=key)


def test_a_key_ring_is_read_back_and_listed(client, ring):
    assert ring == f"{LOCATION}/keyRings/ring"
    assert client.get_key_ring(name=ring).name == ring
    assert ring in [found.name for found in client.list_key_rings(parent=LOCATION)]


def test_a_created_key_is_read_back(client, ring):
    created = create(client, ring, "read-back", labels={"env": "test"})
    assert created.name == f"{ring}/cryptoKeys/read-back"
    assert created.create_time is not None
    assert client.get_crypto_key(name=created.name) == created


def test_an_update_changes_only_what_the_mask_names(client, ring):
    key = create(client, ring, "updated", labels={"env": "test"})
    key.labels = {"env": "prod"}
    updated = client.update_crypto_key(crypto_key=key, update_mask=FieldMask(paths=["labels"]))
    assert dict(updated.labels) == {"env": "prod"}
    assert updated.purpose == kms.CryptoKey.CryptoKeyPurpose.ENCRYPT_DECRYPT


def test_what_is_immutable_stays(client, ring):
    key = create(client, ring, "immutable")
    key.purpose = kms.CryptoKey.CryptoKeyPurpose.MAC
    with pytest.raises(exceptions.InvalidArgument):
        client.update_crypto_key(crypto_key=key, update_mask=FieldMask(paths=["purpose"]))


def test_pages_hold_every_key_exactly_once(client):
    ring = client.create_key_ring(parent=LOCATION, key_ring_id="paging", key_ring=kms.KeyRing()).name
    wanted = [create(client, ring, f"k{n}").name for n in range(5)]
    pages = list(client.list_crypto_keys(request=kms.ListCryptoKeysRequest(parent=ring, page_size=2)).pages)
    assert [len(page.crypto_keys) for page in pages] == [2, 2, 1]
    assert [key.name for page in pages for key in page.crypto_keys] == wanted


def test_order_by_is_honoured(client):
    ring = client.create_key_ring(parent=LOCATION, key_ring_id="order", key_ring=kms.KeyRing()).name
    for name in ["b", "c", "a"]:
        create(client, ring, name)
    listed = client.list_crypto_keys(request=kms.ListCryptoKeysRequest(parent=ring, order_by="name desc"))
    assert [key.name.rsplit("/", 1)[1] for key in listed] == ["c", "b", "a"]


def test_a_key_version_is_a_resource_too(client, ring):
    key = create(client, ring, "versioned").name
    version = client.create_crypto_key_version(parent=key, crypto_key_version=kms.CryptoKeyVersion())
    assert version.name.startswith(f"{key}/cryptoKeyVersions/")
    assert [found.name for found in client.list_crypto_key_versions(parent=key)] == [version.name]


def test_a_deleted_key_is_gone(client, ring):
    name = create(client, ring, "deleted").name
    # The answer is an operation that is finished already.
    client.delete_crypto_key(name=name).result(timeout=10)
    with pytest.raises(exceptions.NotFound):
        client.get_crypto_key(name=name)


def test_encryption_is_an_action_without_a_handler(client, ring):
    key = create(client, ring, "encrypts").name
    with pytest.raises(exceptions.MethodNotImplemented):
        client.encrypt(name=key, plaintext=b"x")
