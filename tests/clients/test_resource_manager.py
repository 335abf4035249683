"""Google's published client library for Resource Manager, unchanged, against Bowline: every change is a long-running operation."""

import pytest
from google.api_core import exceptions
from google.cloud import resourcemanager_v3 as rm
from google.cloud.resourcemanager_v3.services.folders.transports import FoldersGrpcTransport
from google.cloud.resourcemanager_v3.services.projects.transports import ProjectsGrpcTransport
from google.cloud.resourcemanager_v3.services.tag_keys.transports import TagKeysGrpcTransport
from google.protobuf.field_mask_pb2 import FieldMask

ORGANIZATION = "organizations/4711"


@pytest.fixture(scope="module")
def projects(google):
    return rm.ProjectsClient(transport=ProjectsGrpcTransport(channel=google.channel()))


@pytest.fixture(scope="module")
def folders(google):
    return rm.FoldersClient(transport=FoldersGrpcTransport(channel=google.channel()))


@pytest.fixture(scope="module")
def tag_keys(google):
    return rm.TagKeysClient(transport=TagKeysGrpcTransport(channel=google.channel()))


def create_project(projects, project_id, parent=ORGANIZATION, **fields):
    project = rm.Project(project_id=project_id, parent=parent, **fields)
    return projects.create_project(project=project).result(timeout=10)


def test_a_created_project_comes_with_the_operation(projects):
    created = create_project(projects, "read-back", display_name="Read back", labels={"env": "test"})
    assert created.name.startswith("projects/")
    assert created.create_time is not None
    assert projects.get_project(name=created.name) == created


def test_an_update_changes_only_what_the_mask_names(projects):
    project = create_project(projects, "updated", display_name="Before", labels={"env": "test"})
    project.display_name = "After"
    project.labels = {"env": "prod"}
    operation = projects.update_project(project=project, update_mask=FieldMask(paths=["display_name"]))
    updated = operation.result(timeout=10)
    assert updated.display_name == "After"
    assert dict(updated.labels) == {"env": "test"}


def test_projects_are_listed_by_their_parent(projects):
    parent = "organizations/815"
    wanted = sorted(create_project(projects, f"paging-{n}", parent).name for n in range(5))
    create_project(projects, "paging-elsewhere", "organizations/816")
    request = rm.ListProjectsRequest(parent=parent, page_size=2)
    pages = list(projects.list_projects(request=request).pages)
    assert [len(page.projects) for page in pages] == [2, 2, 1]
    assert [project.name for page in pages for project in page.projects] == wanted


def test_a_deleted_project_is_gone(projects):
    name = create_project(projects, "deleted", display_name="Deleted").name
    projects.delete_project(name=name).result(timeout=10)
    with pytest.raises(exceptions.NotFound):
        projects.get_project(name=name)


def test_folders_go_through_the_whole_round(folders):
    parent = "organizations/42"
    folder = folders.create_folder(folder=rm.Folder(parent=parent, display_name="Team A")).result(timeout=10)
    assert folder.name.startswith("folders/")
    assert [found.name for found in folders.list_folders(parent=parent)] == [folder.name]
    folder.display_name = "Team B"
    changed = folders.update_folder(folder=folder, update_mask=FieldMask(paths=["display_name"])).result(timeout=10)
    assert changed.display_name == "Team B"
    folders.delete_folder(name=folder.name).result(timeout=10)
    assert not list(folders.list_folders(parent=parent))


def test_tag_keys_can_be_validated_without_being_made(tag_keys):
    key = rm.TagKey(parent=ORGANIZATION, short_name="environment")
    request = rm.CreateTagKeyRequest(tag_key=key, validate_only=True)
    tag_keys.create_tag_key(request=request).result(timeout=10)
    assert not list(tag_keys.list_tag_keys(parent=ORGANIZATION))
    made = tag_keys.create_tag_key(tag_key=key).result(timeout=10)
    assert [found.name for found in tag_keys.list_tag_keys(parent=ORGANIZATION)] == [made.name]
