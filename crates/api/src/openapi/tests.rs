//! Documents of the library service, in parts that can be read.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use expect_test::expect;
use serde_json::Value;

use super::document;
use crate::rest::fixture::registry;

fn library() -> Value {
    document(&registry(), "library.example.com", "v1", &|_| true).unwrap()
}

/// One line for each operation: place, id, parameters (`!` if required), body, answer.
fn outline(document: &Value) -> String {
    let mut out = String::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (verb, operation) in item.as_object().unwrap() {
            write!(out, "{verb} {path} {}", operation["operationId"].as_str().unwrap()).unwrap();
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let mark = if parameter["required"] == true { "!" } else { "" };
                let (name, place) = (&parameter["name"], &parameter["in"]);
                write!(out, " {}:{}{mark}", place.as_str().unwrap(), name.as_str().unwrap())
                    .unwrap();
            }
            let content = |of: &Value| of["content"].as_object().cloned().unwrap_or_default();
            for (media, body) in content(&operation["requestBody"]) {
                write!(out, " <- {media} {}", body["schema"]).unwrap();
            }
            for (media, body) in content(&operation["responses"]["200"]) {
                write!(out, " -> {media} {}", body["schema"]).unwrap();
            }
            out.push('\n');
        }
    }
    out.replace("{\"$ref\":\"#/components/schemas/", "{")
}

#[test]
fn every_rule_of_every_served_method_is_an_operation() {
    expect![[r#"
        get /v1/shelves/{shelf}/books/{book}:watch BookWatchService_WatchBook path:shelf! path:book! query:fieldMask query:view -> application/x-ndjson {WatchBookResponse"} -> text/event-stream {"type":"string"}
        post /v1/shelves/{shelf}/books/{book}:watch BookWatchService_WatchBook_2 path:shelf! path:book! <- application/json {WatchBookRequest"} -> application/x-ndjson {WatchBookResponse"} -> text/event-stream {"type":"string"}
        get /v1/authors/{author}/books/{book}:watch BookWatchService_WatchBook_3 path:author! path:book! query:fieldMask query:view -> application/x-ndjson {WatchBookResponse"} -> text/event-stream {"type":"string"}
        post /v1/authors/{author}/books/{book}:watch BookWatchService_WatchBook_4 path:author! path:book! <- application/json {WatchBookRequest"} -> application/x-ndjson {WatchBookResponse"} -> text/event-stream {"type":"string"}
        get /v1/shelves/{shelf}/books:watch BookWatchService_WatchBooks path:shelf! query:pageSize query:pageToken query:orderBy query:filter query:fieldMask query:view query:type query:resumeToken query:maxChunkSize query:startingTime -> application/x-ndjson {WatchBooksResponse"} -> text/event-stream {"type":"string"}
        post /v1/shelves/{shelf}/books:watch BookWatchService_WatchBooks_2 path:shelf! <- application/json {WatchBooksRequest"} -> application/x-ndjson {WatchBooksResponse"} -> text/event-stream {"type":"string"}
        get /v1/authors/{author}/books:watch BookWatchService_WatchBooks_3 path:author! query:pageSize query:pageToken query:orderBy query:filter query:fieldMask query:view query:type query:resumeToken query:maxChunkSize query:startingTime -> application/x-ndjson {WatchBooksResponse"} -> text/event-stream {"type":"string"}
        post /v1/authors/{author}/books:watch BookWatchService_WatchBooks_4 path:author! <- application/json {WatchBooksRequest"} -> application/x-ndjson {WatchBooksResponse"} -> text/event-stream {"type":"string"}
        post /v1/shelves/{shelf}/books Library_CreateBook path:shelf! query:bookId query:validateOnly <- application/json {"allOf":[{Book"},{"required":["title"]}]} -> application/json {Book"}
        get /v1/shelves/{shelf}/books Library_ListBooks path:shelf! query:pageSize query:pageToken query:filter query:genres query:since query:lent query:cover.colour query:cover.size.widthMm query:cover.size.heightMm query:orderBy query:newestFirst query:youngerThan -> application/json {ListBooksResponse"}
        delete /v1/shelves/{shelf}/books/{book} Library_DeleteBook path:shelf! path:book! -> application/json {"type":"object","additionalProperties":false}
        get /v1/shelves/{shelf}/books/{book} Library_GetBook path:shelf! path:book! query:readMask -> application/json {Book"}
        patch /v1/shelves/{shelf}/books/{book} Library_UpdateBook path:shelf! path:book! query:updateMask query:allowMissing <- application/json {Book"} -> application/json {Book"}
        put /v1/shelves/{shelf}/books/{book} Library_UpdateBook_2 path:shelf! path:book! query:updateMask query:allowMissing <- application/json {Book"} -> application/json {Book"}
        get /v1/shelves/{shelf}/books:follow Library_FollowBooks path:shelf! query:pageSize query:pageToken query:filter query:genres query:since query:lent query:cover.colour query:cover.size.widthMm query:cover.size.heightMm query:orderBy query:newestFirst query:youngerThan -> application/x-ndjson {ListBooksResponse"} -> text/event-stream {"type":"string"}
        get /v1/authors/{author}/books/{book} Library_GetBook_2 path:author! path:book! query:readMask -> application/json {Book"}
        post /v1/shelves/{shelf}/books/{book}:lend Library_LendBook path:shelf! path:book! <- application/json {"allOf":[{LendBookRequest"},{"required":["reader"]}]} -> application/json {LendBookResponse"}
        get /v1/shelves/{shelf}/titles Library_ListTitles path:shelf! query:pageSize query:pageToken query:filter query:genres query:since query:lent query:cover.colour query:cover.size.widthMm query:cover.size.heightMm query:orderBy query:newestFirst query:youngerThan -> application/json {"type":"array","items":{"type":"string"}}
        get /v1/pages/{path} Library_ReadPage path:path! -> */* {"type":"string","format":"binary"}
    "#]]
    .assert_eq(&outline(&library()));
}

#[test]
fn a_method_that_is_not_served_is_not_shown() {
    let document = document(&registry(), "library.example.com", "v1", &|method| {
        method.descriptor.name() == "LendBook"
    });
    let document = document.unwrap();
    assert_eq!(outline(&document).lines().count(), 1);
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let names: Vec<_> = schemas.keys().map(String::as_str).collect();
    assert_eq!(names, ["Error", "LendBookRequest", "LendBookResponse"]);
}

#[test]
fn an_unknown_version_has_no_document() {
    assert!(document(&registry(), "library.example.com", "v2", &|_| true).is_none());
    assert!(document(&registry(), "other.example.com", "v1", &|_| true).is_none());
}

#[test]
fn schemas_are_those_of_proto3_json() {
    let document = library();
    let schemas = &document["components"]["schemas"];
    let mut out = String::new();
    for (name, schema) in schemas["Book"]["properties"].as_object().unwrap() {
        writeln!(out, "{name}: {schema}").unwrap();
    }
    writeln!(out, "Genre: {}", schemas["Genre"]).unwrap();
    writeln!(out, "about: {}", schemas["Book"]["description"]).unwrap();
    expect![[r##"
        name: {"type":"string","description":"Its name."}
        title: {"type":"string","description":"What is on its cover. Required."}
        copies: {"type":"string","format":"int64","pattern":"^-?[0-9]{1,19}$"}
        genre: {"$ref":"#/components/schemas/Genre"}
        createTime: {"type":"string","format":"date-time","description":"When it was added.","readOnly":true}
        labels: {"type":"object","additionalProperties":{"type":"string"}}
        cover: {"$ref":"#/components/schemas/Cover"}
        chapters: {"type":"array","items":{"$ref":"#/components/schemas/Chapter"}}
        notes: {"type":"object","additionalProperties":true}
        attachment: {"type":"object","properties":{"@type":{"type":"string","description":"The URL of a message type."}},"additionalProperties":true}
        edition: {"type":"integer","format":"int32","minimum":-2147483648,"maximum":2147483647}
        loanPeriod: {"type":"string","pattern":"^-?[0-9]{1,12}(\\.[0-9]{1,9})?s$"}
        thumbnail: {"type":"string","format":"byte","contentEncoding":"base64"}
        weight: {"anyOf":[{"type":"number","format":"double"},{"type":"string","enum":["NaN","Infinity","-Infinity"]}]}
        isbn: {"type":"string"}
        scroll: {"$ref":"#/components/schemas/Cover"}
        notesByPage: {"type":"object","propertyNames":{"pattern":"^-?[0-9]+$"},"additionalProperties":{"$ref":"#/components/schemas/Chapter"}}
        publicFields: {"type":"string","description":"Field paths, separated by commas."}
        anything: {"description":"Any JSON value."}
        sequel: {"$ref":"#/components/schemas/Book"}
        score: {"anyOf":[{"type":"number","format":"float"},{"type":"string","enum":["NaN","Infinity","-Infinity"]}]}
        lent: {"type":"boolean"}
        views: {"type":"string","format":"uint64","pattern":"^[0-9]{1,20}$"}
        Genre: {"type":"string","enum":["GENRE_UNSPECIFIED","FICTION","SCIENCE"],"description":"What a book is about.\n\n- `FICTION`: Made up."}
        about: "A book on a shelf.\n\nAt most one of `isbn`, `scroll` is set."
    "##]]
    .assert_eq(&out);
}

#[test]
fn parameters_say_what_their_binding_knows() {
    let document = library();
    let mut out = String::new();
    let item = &document["paths"]["/v1/shelves/{shelf}/books"];
    for verb in ["get", "post"] {
        for parameter in item[verb]["parameters"].as_array().unwrap() {
            let (name, schema) = (parameter["name"].as_str().unwrap(), &parameter["schema"]);
            writeln!(out, "{name}: {schema} {}", parameter["example"]).unwrap();
        }
    }
    expect![[r##"
        shelf: {"type":"string","minLength":1,"maxLength":255,"pattern":"^[A-Za-z0-9_~-][A-Za-z0-9._~-]*$"} null
        pageSize: {"type":"integer","format":"int32","minimum":0,"maximum":2147483647} null
        pageToken: {"type":"string"} null
        filter: {"type":"string"} null
        genres: {"type":"array","items":{"$ref":"#/components/schemas/Genre"}} null
        since: {"type":"string","format":"date-time"} null
        lent: {"type":"boolean"} null
        cover.colour: {"type":"string"} null
        cover.size.widthMm: {"type":"integer","format":"int32","minimum":-2147483648,"maximum":2147483647} null
        cover.size.heightMm: {"type":"integer","format":"int32","minimum":-2147483648,"maximum":2147483647} null
        orderBy: {"type":"string"} "name desc"
        newestFirst: {"type":"boolean"} null
        youngerThan: {"type":"string","pattern":"^-?[0-9]{1,12}(\\.[0-9]{1,9})?s$"} null
        shelf: {"type":"string","minLength":1,"maxLength":255,"pattern":"^[A-Za-z0-9_~-][A-Za-z0-9._~-]*$"} null
        bookId: {"type":"string","minLength":1,"maxLength":255,"pattern":"^[A-Za-z0-9_~-][A-Za-z0-9._~-]*$"} null
        validateOnly: {"type":"boolean"} null
    "##]]
    .assert_eq(&out);
}

#[test]
fn references_lead_somewhere_and_names_are_unique() {
    let document = library();
    let mut references = BTreeSet::new();
    collect_references(&document, &mut references);
    assert!(references.len() > 5, "{references:?}");
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            assert!(ids.insert(operation["operationId"].to_string()), "{operation}");
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let place = format!("{{{}}}", parameter["name"].as_str().unwrap());
                assert_eq!(path.contains(&place), parameter["in"] == "path", "{path} {place}");
            }
        }
    }
}

fn collect_references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|inner| collect_references(inner, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| collect_references(inner, found)),
        _ => {}
    }
}

#[test]
fn the_document_is_the_same_each_time() {
    assert_eq!(library().to_string(), library().to_string());
}
