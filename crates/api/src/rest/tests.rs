//! Requests over the whole router, with a handler that writes down what reaches it.

use std::time::Duration;

use axum::body::Body;
use bowline_base::{Detail, Reason, Status};
use bytes::Bytes;
use expect_test::{Expect, expect};
use futures::StreamExt;
use http::Request;
use proptest::prelude::*;
use prost::Message as _;
use prost_reflect::{DynamicMessage, ReflectMessage, Value};

use super::fixture::{Recorder, World, hasty_world, message, sensors, world, world_with};
use crate::handler::Reply;

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

fn check_bound(method: &str, uri: &str, body: &str, expected: Expect) {
    expected.assert_eq(&run(world(Recorder::default()).bound(method, uri, body)));
}

fn check_error(method: &str, uri: &str, body: &str, expected: Expect) {
    expected.assert_eq(&run(world(Recorder::default()).ask(method, uri, body)).error());
}

/// A book with these JSON fields, encoded.
fn book(json: &str) -> Bytes {
    super::json_read::read_message(&message("Book"), json.as_bytes(), "")
        .unwrap()
        .message
        .encode_to_vec()
        .into()
}

#[test]
fn a_path_variable_takes_all_its_segments() {
    check_bound(
        "GET",
        "/v1/shelves/s/books/b",
        "",
        expect![[r#"GetBook {"name":"shelves/s/books/b"}"#]],
    );
}

#[test]
fn every_rule_of_a_method_leads_to_it() {
    check_bound(
        "GET",
        "/v1/authors/a/books/b",
        "",
        expect![[r#"GetBook {"name":"authors/a/books/b"}"#]],
    );
}

#[test]
fn an_escaped_slash_stays_escaped_in_a_name_of_several_segments() {
    check_bound(
        "GET",
        "/v1/shelves/a%20b/books/c%2Fd%3Ae",
        "",
        expect![[r#"GetBook {"name":"shelves/a b/books/c%2Fd:e"}"#]],
    );
}

#[test]
fn the_rest_of_a_path_goes_to_a_double_star() {
    check_bound("GET", "/v1/pages/a/b%2fc/d", "", expect![[r#"ReadPage {"path":"a/b%2fc/d"}"#]]);
}

#[test]
fn a_colon_that_is_no_verb_belongs_to_the_id() {
    check_bound(
        "GET",
        "/v1/shelves/s/books/b:c",
        "",
        expect![[r#"GetBook {"name":"shelves/s/books/b:c"}"#]],
    );
}

#[test]
fn a_verb_wins_over_an_id_with_a_colon() {
    check_bound(
        "POST",
        "/v1/shelves/s/books/b:lend",
        r#"{"reader":"r"}"#,
        expect![[r#"LendBook {"name":"shelves/s/books/b","reader":"r"}"#]],
    );
}

#[test]
fn query_parameters_fill_the_fields_that_the_path_leaves() {
    check_bound(
        "GET",
        "/v1/shelves/s/books?pageSize=5&page_token=a%2Bb+c&genres=FICTION&genres=2&since=2026-01-31T12:00:00Z&lent=false&cover.size.width_mm=7&orderBy=title&youngerThan=1.5s",
        "",
        expect![[
            r#"ListBooks {"parent":"shelves/s","pageSize":5,"pageToken":"a+b c","genres":["FICTION","SCIENCE"],"since":"2026-01-31T12:00:00Z","lent":false,"cover":{"size":{"widthMm":7}},"orderBy":"title","youngerThan":"1.500s"}"#
        ]],
    );
}

#[test]
fn masks_reach_the_method_as_they_are_written() {
    check_bound(
        "GET",
        "/v1/shelves/s/books/b?readMask=title,createTime,labels.some-key",
        "",
        expect![[
            r#"GetBook {"name":"shelves/s/books/b","readMask":"title,createTime,labels.some-key"}"#
        ]],
    );
    check_bound(
        "POST",
        "/v1/shelves/s/books/b:lend",
        r#"{"shown":"title,create_time"}"#,
        expect![[r#"LendBook {"name":"shelves/s/books/b","shown":"title,createTime"}"#]],
    );
}

#[test]
fn a_method_with_a_body_can_be_called_by_query_alone() {
    check_bound(
        "POST",
        "/v1/shelves/s/books/b:lend?reader=r",
        "",
        expect![[r#"LendBook {"name":"shelves/s/books/b","reader":"r"}"#]],
    );
}

#[test]
fn bad_parameters_are_named() {
    let uri = |query: &str| format!("/v1/shelves/s/books?{query}");
    for (query, expected) in [
        (
            "page_sise=1",
            expect![
                "400 INVALID_FIELD: page_sise: example.library.v1.ListBooksRequest has no field `page_sise`; did you mean `page_size`?"
            ],
        ),
        ("pageSize=x", expect!["400 INVALID_FIELD: pageSize: expected a whole number of 32 bits"]),
        ("pageSize=1&page_size=2", expect!["400 INVALID_FIELD: page_size: is given twice"]),
        (
            "genres=POETRY",
            expect![
                "400 INVALID_FIELD: genres: expected one of GENRE_UNSPECIFIED, FICTION, SCIENCE"
            ],
        ),
        (
            "since=yesterday",
            expect!["400 INVALID_FIELD: since: expected a time like 2026-01-31T12:00:00Z"],
        ),
        ("lent=maybe", expect!["400 INVALID_FIELD: lent: expected true or false"]),
        ("cover=red", expect!["400 INVALID_FIELD: cover: is a message: name one of its fields"]),
        ("labels=a", expect!["400 INVALID_FIELD: labels: is a map, which a query cannot hold"]),
        (
            "labels.a=b",
            expect!["400 INVALID_FIELD: labels.a: `labels` has no fields that a query could set"],
        ),
        (
            "parent=shelves/t",
            expect!["400 INVALID_FIELD: parent: `parent` is given by the path or the body"],
        ),
        (
            "orderBy=title&newestFirst=true",
            expect![
                "400 INVALID_FIELD: newestFirst: only one of the fields of `order` may be given"
            ],
        ),
        (
            "alt=media",
            expect!["400 INVALID_FIELD: alt: only json, json;enum-encoding=int and sse are served"],
        ),
        (
            "fields=books",
            expect![
                "400 INVALID_FIELD: fields: partial responses are asked for with a field mask of the method"
            ],
        ),
        ("filter=%ff", expect!["400 INVALID_FIELD: the query is not UTF-8 after percent-decoding"]),
    ] {
        check_error("GET", &uri(query), "", expected);
    }
    check_error(
        "POST",
        "/v1/shelves/s/books/b:lend?reader=r",
        "{}",
        expect!["400 INVALID_FIELD: reader: this method takes its fields from the body"],
    );
    check_error(
        "POST",
        "/v1/shelves/s/books?book.title=t",
        "{}",
        expect!["400 INVALID_FIELD: book.title: `book` is given by the path or the body"],
    );
}

#[test]
fn a_path_that_leads_nowhere_says_where_it_went_wrong() {
    for (uri, expected) in [
        (
            "/v1/shelfs/s/books/b",
            expect![
                "404 METHOD_NOT_FOUND: no method is served at GET /v1/shelfs/s/books/b; segment 2 is `shelfs`; did you mean `shelves`?"
            ],
        ),
        (
            "/v2/shelves",
            expect![
                "404 METHOD_NOT_FOUND: no method is served at GET /v2/shelves; segment 1 is `v2`; did you mean `v1`?"
            ],
        ),
        (
            "/v1/shelves/s",
            expect![
                "404 METHOD_NOT_FOUND: no method is served at GET /v1/shelves/s; the path ends too early"
            ],
        ),
        (
            "/v1/shelves//books/b",
            expect![
                "404 METHOD_NOT_FOUND: no method is served at GET /v1/shelves//books/b; the path has an empty segment"
            ],
        ),
        (
            "/v1/shelves/s/books/b/c",
            expect![
                "404 METHOD_NOT_FOUND: no method is served at GET /v1/shelves/s/books/b/c; segment 6 is `c`, where nothing is expected"
            ],
        ),
        (
            "/v1/shelves/s/books:folow",
            expect![
                "404 METHOD_NOT_FOUND: no method is served at GET /v1/shelves/s/books:folow; segment 4 is `books:folow`, and it has no such verb"
            ],
        ),
        ("/v1/%ff", expect!["400 INVALID_FIELD: the path is not UTF-8 after percent-decoding"]),
    ] {
        check_error("GET", uri, "", expected);
    }
}

#[test]
fn another_http_method_is_told_what_is_allowed() {
    let got = run(world(Recorder::default()).ask("DELETE", "/v1/shelves/s/books", ""));
    assert_eq!(
        (got.code, got.headers["allow"].to_str().unwrap()),
        (405, "GET, HEAD, POST, OPTIONS")
    );
    let options = run(world(Recorder::default()).ask("OPTIONS", "/v1/shelves/s/books/b", ""));
    assert_eq!(options.code, 204);
    assert_eq!(options.headers["allow"], "DELETE, GET, HEAD, PATCH, PUT, OPTIONS");
}

#[test]
fn a_body_can_be_one_field_and_the_path_wins_over_it() {
    check_bound(
        "PUT",
        "/v1/shelves/s/books/b?allowMissing=true",
        r#"{"name":"shelves/x/books/y","title":"T","copies":"9007199254740993"}"#,
        expect![[
            r#"UpdateBook {"book":{"name":"shelves/s/books/b","title":"T","copies":"9007199254740993"},"allowMissing":true}"#
        ]],
    );
}

#[test]
fn a_patch_without_a_mask_changes_what_its_body_mentions() {
    let bound = |uri: &str, body: &str| {
        let world = world(Recorder::default());
        run(world.bound("PATCH", uri, body));
        let request = world.recorder.last().unwrap().request;
        let mask = request.get_field_by_name("update_mask").unwrap();
        let paths = mask.as_message().unwrap().get_field_by_name("paths").unwrap().into_owned();
        let paths = paths.as_list().unwrap().iter().map(|p| p.as_str().unwrap().to_owned());
        paths.collect::<Vec<_>>().join(",")
    };
    let uri = "/v1/shelves/s/books/b";
    let all = r#"{"name":"n","title":"","copies":null,"cover":{"size":{"widthMm":1},"colour":"red"},
        "labels":{"a":"b"},"chapters":[{"pages":1}],"notes":{"x":1},"scroll":{},"create_time":null}"#;
    assert_eq!(
        bound(uri, all),
        "title,copies,cover.size.width_mm,cover.colour,labels,chapters,notes,scroll,create_time"
    );
    assert_eq!(bound(&format!("{uri}?updateMask=title"), all), "title");
    assert_eq!(bound(uri, "{}"), "");
    let put = world(Recorder::default());
    let put = run(put.bound("PUT", uri, r#"{"title":"t"}"#));
    assert!(!put.contains("updateMask"), "{put}");
}

#[test]
fn mistakes_in_json_have_a_field_and_a_place() {
    for (body, expected) in [
        (
            "{\n  \"titel\": \"x\"\n}",
            expect![
                "400 MALFORMED_BODY: book: example.library.v1.Book has no field `titel`; did you mean `title`? at line 2 column 9"
            ],
        ),
        (
            r#"{"chapters":[{"pages":1},{"pages":"many"}]}"#,
            expect![[
                r#"400 MALFORMED_BODY: book.chapters[1].pages: invalid value: string "many", expected a whole number of 32 bits at line 1 column 40"#
            ]],
        ),
        (
            r#"{"title":5}"#,
            expect![
                "400 MALFORMED_BODY: book.title: invalid value: integer `5`, expected a string at line 1 column 10"
            ],
        ),
        (
            r#"{"notesByPage":{"x":{}}}"#,
            expect![[
                r#"400 MALFORMED_BODY: book.notesByPage["x"]: the key has the wrong type at line 1 column 19"#
            ]],
        ),
        (
            r#"{"isbn":"1","scroll":{}}"#,
            expect![
                "400 MALFORMED_BODY: book.scroll: only one of the fields of `format` may be set, and `isbn` is at line 1 column 20"
            ],
        ),
        (
            r#"{"title":"a","title":"b"}"#,
            expect![
                "400 MALFORMED_BODY: book.title: the field stands here twice at line 1 column 20"
            ],
        ),
        (
            r#"{"createTime":"soon"}"#,
            expect![
                "400 MALFORMED_BODY: book.createTime: invalid rfc3339 timestamp: invalid date at line 1 column 20"
            ],
        ),
        (
            r#"{"title":"a""#,
            expect!["400 MALFORMED_BODY: book: EOF while parsing an object at line 1 column 12"],
        ),
        (r#"{} {}"#, expect!["400 MALFORMED_BODY: book: trailing characters at line 1 column 4"]),
        (
            r#"[]"#,
            expect![
                "400 MALFORMED_BODY: book: invalid type: sequence, expected a JSON map with the fields of example.library.v1.Book at line 1 column 2"
            ],
        ),
    ] {
        check_error("POST", "/v1/shelves/s/books", body, expected);
    }
    let got =
        run(world(Recorder::default()).ask("POST", "/v1/shelves/s/books", "{\"copies\": true}"));
    assert_eq!(got.json()["error"]["details"][0]["metadata"]["column"], "15");
    assert_eq!(got.json()["error"]["details"][1]["fieldViolations"][0]["field"], "book.copies");
}

#[test]
fn nesting_is_bounded_before_it_is_a_danger() {
    let deep = |n: usize| format!("{}{}", r#"{"sequel":"#.repeat(n) + "{}", "}".repeat(n));
    let ask = |body: &str| run(world(Recorder::default()).ask("POST", "/v1/shelves/s/books", body));
    assert_eq!(ask(&deep(80)).code, 200);
    assert_eq!(
        ask(&deep(100)).error(),
        "400 LIMIT_EXCEEDED: book: messages are nested more than 90 deep"
    );
    assert!(ask(&deep(100_000)).error().contains("recursion limit exceeded"));
    // A free-form value takes three messages for each level of JSON.
    let lists = format!(r#"{{"anything":{}{}}}"#, "[".repeat(60), "]".repeat(60));
    assert_eq!(ask(&lists).code, 400);
}

#[test]
fn a_body_is_read_up_to_the_limit_only() {
    let world = world_with(Recorder::default(), |options| options.limits.message_bytes_max = 64);
    let ask = |body: Body| {
        let request =
            Request::post("/v1/shelves/s/books").header("content-type", "application/json");
        run(world.send(request.body(body).unwrap()))
    };
    let long = format!(r#"{{"title":"{}"}}"#, "x".repeat(100));
    let known = ask(Body::from(long.clone()));
    let streamed = ask(Body::from_stream(futures::stream::iter(
        long.into_bytes().into_iter().map(|b| Ok::<_, std::io::Error>(Bytes::from(vec![b]))),
    )));
    for got in [known, streamed] {
        assert_eq!(got.error(), "400 LIMIT_EXCEEDED: the body is larger than 64 bytes");
    }
}

#[test]
fn only_json_bodies_are_read() {
    let world = world(Recorder::default());
    for media in ["text/plain", "application/x-www-form-urlencoded", ""] {
        let request = Request::post("/v1/shelves/s/books").header("content-type", media);
        let got = run(world.send(request.body(Body::from("{}")).unwrap()));
        assert_eq!((got.code, world.recorder.last().is_none()), (415, true), "{media}");
    }
    let request = Request::post("/v1/shelves/s/books")
        .header("content-type", "Application/JSON; charset=utf-8");
    assert_eq!(run(world.send(request.body(Body::from("{}")).unwrap())).code, 200);
    check_error(
        "GET",
        "/v1/shelves/s/books/b",
        "{}",
        expect!["400 MALFORMED_BODY: GET /v1/{name=shelves/*/books/*} takes no body"],
    );
}

#[test]
fn an_answer_is_proto3_json() {
    let world = world(Recorder::answering(|_| {
        Ok(Reply::Unary(book(
            r#"{"name":"n","copies":"5","genre":"SCIENCE","createTime":"2026-01-31T12:00:00.5Z","labels":{"b":"2","a":"1"},
                "notes":{"x":[1,null,{"y":true}]},"edition":3,"thumbnail":"_-8","weight":"NaN","lent":false,"views":"18446744073709551615",
                "attachment":{"@type":"type.googleapis.com/example.library.v1.Chapter","title":"c"},"publicFields":"title,createTime"}"#,
        )))
    }));
    let got = run(world.ask("GET", "/v1/shelves/s/books/b", ""));
    expect![[r#"{"name":"n","copies":"5","genre":"SCIENCE","createTime":"2026-01-31T12:00:00.500Z","labels":{"a":"1","b":"2"},"notes":{"x":[1.0,null,{"y":true}]},"attachment":{"@type":"type.googleapis.com/example.library.v1.Chapter","title":"c"},"edition":3,"thumbnail":"/+8=","weight":"NaN","publicFields":"title,createTime","lent":false,"views":"18446744073709551615"}"#]]
    .assert_eq(&got.text);
    assert_eq!(got.headers["content-type"], "application/json");
    let numbers = run(world.ask(
        "GET",
        "/v1/shelves/s/books/b?$alt=json;enum-encoding=int&prettyPrint=true",
        "",
    ));
    assert!(numbers.text.contains("\"genre\": 2,\n"), "{}", numbers.text);
}

#[test]
fn values_that_json_cannot_express_are_written_in_the_nearest_form() {
    let world = world(Recorder::answering(|_| {
        let mut any =
            prost_types::Any { type_url: "example.com/unknown.Type".to_owned(), value: vec![1, 2] };
        for _ in 0..50 {
            any = prost_types::Any {
                type_url: "type.googleapis.com/google.protobuf.Any".to_owned(),
                value: any.encode_to_vec(),
            };
        }
        let mut book = DynamicMessage::new(message("Book"));
        let set = |book: &mut DynamicMessage, name: &str, value: &[u8]| {
            let field = book.descriptor().get_field_by_name(name).unwrap();
            let inner =
                DynamicMessage::decode(field.kind().as_message().unwrap().clone(), value).unwrap();
            book.set_field(&field, Value::Message(inner));
        };
        set(&mut book, "attachment", &any.encode_to_vec());
        set(
            &mut book,
            "create_time",
            &prost_types::Timestamp { seconds: i64::MAX, nanos: i32::MAX }.encode_to_vec(),
        );
        set(
            &mut book,
            "loan_period",
            &prost_types::Duration { seconds: i64::MIN, nanos: i32::MIN }.encode_to_vec(),
        );
        set(
            &mut book,
            "public_fields",
            &prost_types::FieldMask { paths: vec!["labels.Some_Key".into(), "a__b".into()] }
                .encode_to_vec(),
        );
        Ok(Reply::Unary(book.encode_to_vec().into()))
    }));
    let got = run(world.ask("GET", "/v1/shelves/s/books/b", ""));
    assert_eq!(got.code, 200);
    let json = got.json();
    assert_eq!(json["createTime"], "9999-12-31T23:59:59.999999999Z");
    assert_eq!(json["loanPeriod"], "-315576000000s");
    assert_eq!(json["publicFields"], "labels.Some_Key,a__b");
    assert!(json["attachment"]["value"].is_object());
}

#[test]
fn one_field_of_the_response_can_be_the_body() {
    let world =
        world(Recorder::answering(|_| Ok(Reply::Unary(Bytes::from_static(b"\x0a\x01a\x0a\x01b")))));
    assert_eq!(run(world.ask("GET", "/v1/shelves/s/titles", "")).text, r#"["a","b"]"#);
}

#[test]
fn a_raw_body_is_handed_on_as_it_is() {
    let world = world(Recorder::answering(|_| {
        Ok(Reply::Unary(Bytes::from_static(b"\x0a\x0atext/plain\x12\x02hi")))
    }));
    let got = run(world.ask("GET", "/v1/pages/1", ""));
    assert_eq!(
        (got.text.as_str(), got.headers["content-type"].to_str().unwrap()),
        ("hi", "text/plain")
    );
}

#[test]
fn a_failure_of_the_handler_keeps_its_details() {
    let world = world(Recorder::answering(|_| {
        let busy = Status::new(Reason::TooManyRequests, "busy");
        Err(busy.with(Detail::Retry { after: Duration::from_millis(1200) }))
    }));
    let got = run(world.ask("GET", "/v1/shelves/s/books/b", ""));
    assert_eq!(got.error(), "429 TOO_MANY_REQUESTS: busy");
    assert_eq!(got.headers["retry-after"], "2");
}

#[test]
fn bytes_that_are_no_answer_are_an_internal_error_without_details() {
    let world = world(Recorder::answering(|_| Ok(Reply::Unary(Bytes::from_static(b"\xff\xff")))));
    let got = run(world.ask("GET", "/v1/shelves/s/books/b", ""));
    assert_eq!(got.code, 500);
    assert!(!got.text.contains("example.library"), "{}", got.text);
}

fn two_pages_then_failure() -> World {
    world(Recorder::answering(|_| {
        let page = |token: &str| {
            let mut page = DynamicMessage::new(message("ListBooksResponse"));
            page.set_field_by_name("next_page_token", Value::String(token.to_owned()));
            Ok(page.encode_to_vec().into())
        };
        let end = Err(Status::new(Reason::Unavailable, "stopping"));
        Ok(Reply::Stream(futures::stream::iter([page("a"), page("b"), end]).boxed()))
    }))
}

#[test]
fn a_stream_is_one_message_on_each_line_and_its_failure_the_last() {
    let got =
        run(two_pages_then_failure().ask("GET", "/v1/shelves/s/books:follow?prettyPrint=true", ""));
    assert_eq!(got.headers["content-type"], "application/x-ndjson");
    expect![[r#"
        {"nextPageToken":"a"}
        {"nextPageToken":"b"}
        {"error":{"code":503,"message":"stopping","status":"UNAVAILABLE","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"UNAVAILABLE","domain":"bowline","metadata":{}}]}}
    "#]]
    .assert_eq(&got.text);
}

#[test]
fn a_stream_is_events_where_the_client_accepts_them() {
    let request = Request::get("/v1/shelves/s/books:follow").header("accept", "text/event-stream");
    let got = run(two_pages_then_failure().send(request.body(Body::empty()).unwrap()));
    assert_eq!(got.headers["content-type"], "text/event-stream");
    let start = "data: {\"nextPageToken\":\"a\"}\n\ndata: {\"nextPageToken\":\"b\"}\n\nevent: error\ndata: {\"error\":";
    assert!(got.text.starts_with(start) && got.text.ends_with("}\n\n"), "{}", got.text);
}

#[test]
fn a_browser_that_reconnects_resumes_its_watch() {
    let world = sensors(Recorder::answering(|method| {
        let mut message = DynamicMessage::new(method.descriptor.output());
        let field = message.descriptor().get_field_by_name("resume_token").unwrap();
        let token = super::scalar::scalar_from_text(&field.kind(), "dG9rZW4").unwrap();
        message.set_field(&field, token);
        let messages = [Ok(Bytes::new()), Ok(message.encode_to_vec().into())];
        Ok(Reply::Stream(futures::stream::iter(messages).boxed()))
    }));
    let request = || Request::get("/v1/sensors:watch").header("accept", "text/event-stream");
    let got = run(world.send(request().body(Body::empty()).unwrap()));
    let id = got.text.lines().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned();
    assert!(got.text.starts_with("data: {}\n\n"), "{}", got.text);
    let sent = |world: &World| {
        let request = world.recorder.last().unwrap().request;
        let text = String::from_utf8(super::message_to_json(&request, Default::default())).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["resumeToken"].clone()
    };
    assert!(sent(&world).is_null());
    run(world.send(request().header("last-event-id", &id).body(Body::empty()).unwrap()));
    assert_eq!(sent(&world).as_str().unwrap().trim_end_matches('='), id);
    run(world.send(request().header("last-event-id", "not a token!").body(Body::empty()).unwrap()));
    assert!(sent(&world).is_string(), "a damaged id is left to the watch to refuse");
}

#[test]
fn an_idle_stream_of_events_says_that_it_is_alive() {
    let recorder = Recorder::answering(|_| Ok(Reply::Stream(futures::stream::pending().boxed())));
    let (world, clock) = hasty_world(recorder);
    let request = Request::get("/v1/shelves/s/books:follow?alt=sse").body(Body::empty()).unwrap();
    let chunks: Vec<_> = run(async {
        let response = world.router.call(request, "c".into()).await;
        response.into_body().into_data_stream().take(2).collect().await
    });
    for chunk in chunks {
        assert_eq!(chunk.unwrap(), ": keep-alive\n\n");
    }
    assert_eq!(clock.slept().last(), Some(&Duration::from_secs(15)));
}

#[test]
fn a_request_ends_at_its_deadline() {
    let (world, clock) = hasty_world(Recorder::default());
    let ask = |seconds: &str| {
        let body = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        let request = Request::post("/v1/shelves/s/books").header("x-request-timeout", seconds);
        run(world.send(request.header("content-type", "application/json").body(body).unwrap()))
    };
    assert_eq!(
        ask("2.5").error(),
        "504 DEADLINE_EXCEEDED: the request took longer than its deadline of 2.5s"
    );
    assert_eq!(ask("1e9").code, 504);
    assert_eq!(clock.slept(), [Duration::from_millis(2500), Duration::from_secs(30)]);
    assert_eq!(ask("-1").code, 400);
    assert_eq!(ask("NaN").code, 400);
}

#[test]
fn a_head_request_is_a_get_without_its_body() {
    let got = run(world(Recorder::default()).ask("HEAD", "/v1/shelves/s/books/b", ""));
    assert_eq!(
        (got.code, got.text.as_str(), got.headers["content-length"].to_str().unwrap()),
        (200, "", "2")
    );
}

#[test]
fn the_handler_learns_the_client_its_deadline_and_some_headers() {
    let world = world(Recorder::default());
    let request = Request::get("/v1/shelves/s/books/b")
        .header("x-request-id", "7")
        .header("cookie", "secret");
    run(world.send(request.body(Body::empty()).unwrap()));
    let context = world.recorder.last().unwrap().context;
    assert_eq!(&*context.client, "10.0.0.1");
    assert_eq!(context.deadline, Some(Duration::from_secs(30)));
    assert_eq!(context.headers, [("x-request-id".to_owned(), "7".to_owned())]);
}

#[test]
fn other_origins_are_let_in_only_if_they_are_listed() {
    let preflight = || {
        let request =
            Request::options("/v1/shelves/s/books").header("origin", "https://console.example.com");
        request.header("access-control-request-method", "POST").body(Body::empty()).unwrap()
    };
    let closed = run(world(Recorder::default()).send(preflight()));
    assert!(!closed.headers.contains_key("access-control-allow-origin"));
    let open = world_with(Recorder::default(), |options| {
        options.allowed_origins = vec!["https://console.example.com".to_owned()];
    });
    let got = run(open.send(preflight()));
    assert_eq!(got.headers["access-control-allow-origin"], "https://console.example.com");
    assert_eq!(got.headers["access-control-allow-methods"], "GET, HEAD, POST, OPTIONS");
    let other = Request::get("/v1/shelves/s/books/b").header("origin", "https://evil.example.com");
    let got = run(open.send(other.body(Body::empty()).unwrap()));
    assert!(!got.headers.contains_key("access-control-allow-origin"));
    assert_eq!(got.headers["vary"], "origin");
}

#[test]
fn the_index_says_what_is_here() {
    let world = world(Recorder::default());
    let index = run(world.ask("GET", "/", "")).json();
    assert_eq!(
        index["services"][0]["versions"][0]["openapi"],
        "/openapi/library.example.com/v1.json"
    );
    assert_eq!(run(world.ask("GET", "/healthz", "")).json()["status"], "SERVING");
    let whole = run(world.ask("GET", "/openapi.json", ""));
    let one = run(world.ask("GET", "/openapi/library.example.com/v1.json", ""));
    assert_eq!(whole.text, one.text);
    assert_eq!(run(world.ask("GET", "/openapi/library.example.com/v9.json", "")).code, 404);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever arrives, the answer is a response, and no mistake of the client is a fault of the server.
    #[test]
    fn no_request_is_a_server_error(
        method in prop::sample::select(vec!["GET", "POST", "PATCH", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE"]),
        path in prop_oneof![
            "(/(v1|shelves|books|authors|pages|[a-z]|%2[fF]|%[0-9a-f]{2}|:lend|books:follow|\\*\\*?)){0,8}(:[a-z]{0,6})?",
            "/v1/shelves/[!-~]{1,8}/books(/[!-~]{1,8})?(:lend)?",
        ],
        query in "([a-zA-Z_.$]{0,12}=?[ -~]{0,12}&?){0,4}",
        body in "[ -~]{0,40}",
    ) {
        let safe = |text: &str| text.chars().filter(|c| !" #<>\"`{}|\\^?[]".contains(*c)).collect::<String>();
        let uri = format!("{}?{}", if path.is_empty() { "/".to_owned() } else { safe(&path) }, safe(&query));
        prop_assume!(uri.parse::<http::Uri>().is_ok());
        let request = Request::builder().method(method).uri(uri).header("content-type", "application/json");
        WORLD.with(|world| {
            let got = run(world.send(request.body(Body::from(body)).unwrap()));
            prop_assert!(got.code < 500, "{got:?}");
            Ok(())
        })?;
    }
}

thread_local! {
    static WORLD: World = world(Recorder::default());
}
