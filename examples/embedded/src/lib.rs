//! A library service: standard methods come from the protos, lending is our own code.

use bowline::{ActionRequest, DynamicMessage, NodeBuilder, Reason, Save, SaveKind, Status, Value};

const BOOK: &str = "library.example.com/Book";
const BORROW: &str = "/example.library.v1.Lending/Borrow";
const GET: &str = "/example.library.v1.BookService/GetBook";
const UPDATE: &str = "/example.library.v1.BookService/UpdateBook";

/// The node, ready to be started.
pub fn node() -> NodeBuilder {
    bowline::Node::builder()
        .folder(concat!(env!("CARGO_MANIFEST_DIR"), "/service"))
        .before_save(BOOK, default_loan)
        .action(BORROW, borrow)
}

/// A hook: books can be kept for four weeks unless their creator says otherwise.
fn default_loan(save: &mut Save<'_>) -> Result<(), Status> {
    let days = save.resource.get_field_by_name("loan_days").and_then(|v| v.as_i32());
    match days {
        Some(0) | None if save.kind == SaveKind::Create => {
            save.resource.set_field_by_name("loan_days", Value::I32(28));
            Ok(())
        }
        Some(days) if days < 0 => Err(Status::bad_field(
            Reason::ValidationFailed,
            "book.loan_days",
            "must not be negative",
        )),
        _ => Ok(()),
    }
}

/// An action: reads the book, and writes it back with its reader, unless it is lent already.
async fn borrow(request: ActionRequest) -> Result<DynamicMessage, Status> {
    let (name, reader) = (text(&request.message, "name"), text(&request.message, "reader"));
    let mut get = request.request_for(GET).expect("the protos define books");
    get.set_field_by_name("name", Value::String(name.clone()));
    let mut book = request.call(GET, get).await?;
    let holder = text(&book, "reader");
    if !holder.is_empty() {
        let message = format!("{name} is lent to {holder}");
        return Err(Status::new(Reason::FailedPrecondition, message));
    }
    book.set_field_by_name("reader", Value::String(reader));
    let mut update = request.request_for(UPDATE).expect("the protos define books");
    // With the version that was read, the update fails if somebody else was faster.
    update.set_field_by_name("etag", Value::String(version(&book)));
    update.set_field_by_name("book", Value::Message(book));
    request.call(UPDATE, update).await
}

fn text(message: &DynamicMessage, field: &str) -> String {
    let value = message.get_field_by_name(field);
    value.and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

fn version(book: &DynamicMessage) -> String {
    let metadata = book.get_field_by_name("metadata");
    let metadata = metadata.as_ref().and_then(|value| value.as_message());
    metadata.map(|metadata| text(metadata, "resource_version")).unwrap_or_default()
}
