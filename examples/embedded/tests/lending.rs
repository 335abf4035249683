//! The example does what it says: the hook defaults, the action lends once.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bowline::{Code, DynamicMessage, Node, ReflectMessage, Value};

const CREATE: &str = "/example.library.v1.BookService/CreateBook";
const BORROW: &str = "/example.library.v1.Lending/Borrow";

async fn library() -> Node {
    let any_port = ([127, 0, 0, 1], 0).into();
    embedded::node().in_memory().listen(any_port).start().await.unwrap()
}

async fn create(node: &Node, id: &str, loan_days: i32) -> Result<DynamicMessage, bowline::Status> {
    let mut request = node.request_for(CREATE).unwrap();
    let field = request.descriptor().get_field_by_name("book").unwrap();
    let mut book = DynamicMessage::new(field.kind().as_message().unwrap().clone());
    book.set_field_by_name("name", Value::String(format!("shelves/s/books/{id}")));
    book.set_field_by_name("title", Value::String("Dune".to_owned()));
    book.set_field_by_name("loan_days", Value::I32(loan_days));
    request.set_field_by_name("book", Value::Message(book));
    node.call(CREATE, request).await
}

async fn borrow(node: &Node, id: &str, reader: &str) -> Result<DynamicMessage, bowline::Status> {
    let mut request = node.request_for(BORROW).unwrap();
    request.set_field_by_name("name", Value::String(format!("shelves/s/books/{id}")));
    request.set_field_by_name("reader", Value::String(reader.to_owned()));
    node.call(BORROW, request).await
}

#[tokio::test]
async fn a_book_is_lent_once_and_the_hook_sets_its_days() {
    let node = library().await;
    let book = create(&node, "dune", 0).await.unwrap();
    assert_eq!(book.get_field_by_name("loan_days").unwrap().as_i32(), Some(28));
    let book = borrow(&node, "dune", "ada").await.unwrap();
    assert_eq!(book.get_field_by_name("reader").unwrap().as_str(), Some("ada"));
    let refused = borrow(&node, "dune", "bob").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let missing = borrow(&node, "emma", "bob").await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    node.stop().await;
}

#[tokio::test]
async fn the_hook_refuses_negative_days_and_nothing_is_written() {
    let node = library().await;
    let refused = create(&node, "dune", -1).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(borrow(&node, "dune", "ada").await.unwrap_err().code(), Code::NotFound);
    node.stop().await;
}
