"""A client that knows nothing: it asks gRPC reflection what there is, and calls what it found."""

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


class Stranger:
    def __init__(self, channel):
        self.channel = channel
        self.database = ProtoReflectionDescriptorDatabase(channel)
        self.pool = DescriptorPool(self.database)

    def services(self):
        return set(self.database.get_services())

    def call(self, service, method, **fields):
        found = self.pool.FindServiceByName(service).FindMethodByName(method)
        request, reply = GetMessageClass(found.input_type), GetMessageClass(found.output_type)
        path = f"/{service}/{method}"
        call = self.channel.unary_unary(path, request.SerializeToString, reply.FromString)
        return call(request(**fields), timeout=10)


@pytest.fixture(scope="module")
def stranger(fleet):
    with fleet.channel() as channel:
        yield Stranger(channel)


def test_every_service_can_be_described(stranger):
    services = stranger.services()
    assert {"fleet.iam.v1.ProjectService", "fleet.devices.v1.DeviceService"} <= services
    assert {"fleet.secrets.v1.SecretService", "fleet.secrets.v1alpha2.SecretService"} <= services
    for service in services:
        for method in stranger.pool.FindServiceByName(service).methods:
            assert method.input_type.full_name and method.output_type.full_name


def test_a_synthesised_service_is_called_by_what_reflection_says(stranger):
    service = "fleet.iam.v1.OrganizationService"
    method = stranger.pool.FindServiceByName(service).FindMethodByName("CreateOrganization")
    organization = GetMessageClass(method.input_type.fields_by_name["organization"].message_type)
    name = "organizations/by-reflection"
    created = stranger.call(service, "CreateOrganization", organization=organization(name=name, display_name="Found"))
    assert created.name == name
    assert stranger.call(service, "GetOrganization", name=name) == created
    assert name in [found.name for found in stranger.call(service, "ListOrganizations").organizations]
    stranger.call(service, "DeleteOrganization", name=name)
    with pytest.raises(grpc.RpcError) as caught:
        stranger.call(service, "GetOrganization", name=name)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_methods_without_machinery_are_absent(stranger):
    for service in stranger.services():
        names = {method.name for method in stranger.pool.FindServiceByName(service).methods}
        assert not {name for name in names if name.startswith(("Undelete", "Purge", "Search"))}, service


def test_the_server_says_that_it_is_healthy(stranger):
    status = stranger.call("grpc.health.v1.Health", "Check").status
    assert status == 1  # SERVING


def test_an_unknown_method_is_unimplemented(fleet):
    with fleet.channel() as channel:
        call = channel.unary_unary("/no.such.Service/Method", bytes, bytes)
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=10)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
