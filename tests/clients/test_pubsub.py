"""Google's published client library for Pub/Sub (topics and subscriptions as resources), unchanged, against Bowline.

Its requests are not of the usual shape: a create request *is* the topic, and names stand in a field `topic` or `project`.
"""

import pytest
from google import pubsub_v1 as pubsub
from google.api_core import exceptions
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

PROJECT = "projects/pubsub-tests"


@pytest.fixture(scope="module")
def publisher(google):
    return pubsub.PublisherClient(transport=PublisherGrpcTransport(channel=google.channel()))


@pytest.fixture(scope="module")
def subscriber(google):
    return pubsub.SubscriberClient(transport=SubscriberGrpcTransport(channel=google.channel()))


def test_a_created_topic_is_read_back(publisher):
    name = f"{PROJECT}/topics/read-back"
    created = publisher.create_topic(request=pubsub.Topic(name=name, labels={"env": "test"}))
    assert created.name == name
    assert publisher.get_topic(topic=name) == created
    with pytest.raises(exceptions.AlreadyExists):
        publisher.create_topic(name=name)


def test_an_update_changes_only_what_the_mask_names(publisher):
    name = f"{PROJECT}/topics/updated"
    topic = publisher.create_topic(request=pubsub.Topic(name=name, labels={"env": "test"}))
    topic.labels = {"env": "prod"}
    topic.message_retention_duration = Duration(seconds=600)
    updated = publisher.update_topic(topic=topic, update_mask=FieldMask(paths=["message_retention_duration"]))
    assert updated.message_retention_duration.total_seconds() == 600
    assert dict(updated.labels) == {"env": "test"}


def test_pages_hold_every_topic_exactly_once(publisher):
    project = "projects/pubsub-paging"
    wanted = [publisher.create_topic(name=f"{project}/topics/t{n}").name for n in range(5)]
    pages = list(publisher.list_topics(request=pubsub.ListTopicsRequest(project=project, page_size=2)).pages)
    assert [len(page.topics) for page in pages] == [2, 2, 1]
    assert [topic.name for page in pages for topic in page.topics] == wanted


def test_a_deleted_topic_is_gone(publisher):
    name = publisher.create_topic(name=f"{PROJECT}/topics/deleted").name
    publisher.delete_topic(topic=name)
    with pytest.raises(exceptions.NotFound):
        publisher.get_topic(topic=name)


def test_a_name_of_another_collection_is_refused(publisher):
    with pytest.raises(exceptions.InvalidArgument):
        publisher.create_topic(name=f"{PROJECT}/topic/misspelt")


def test_a_subscription_refers_to_its_topic(publisher, subscriber):
    topic = publisher.create_topic(name=f"{PROJECT}/topics/subscribed").name
    name = f"{PROJECT}/subscriptions/reader"
    created = subscriber.create_subscription(name=name, topic=topic)
    assert created.topic == topic
    assert subscriber.get_subscription(subscription=name) == created
    created.ack_deadline_seconds = 30
    updated = subscriber.update_subscription(subscription=created, update_mask=FieldMask(paths=["ack_deadline_seconds"]))
    assert updated.ack_deadline_seconds == 30
    assert [found.name for found in subscriber.list_subscriptions(project=PROJECT)] == [name]
    subscriber.delete_subscription(subscription=name)
    assert not list(subscriber.list_subscriptions(project=PROJECT))
