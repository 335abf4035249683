//! Steps that read one resource by its name, and the whole round of types that cannot be created.

use bowline_base::Code;
use bowline_schema::model::{Response, Verb};
use prost_reflect::{DynamicMessage, Value};

use super::calls::{self, Failure};
use super::check;
use super::steps::{Log, Step};
use super::writes::Round;

impl Round<'_> {
    pub(super) async fn get(&self, name: &str) -> Option<Result<DynamicMessage, Failure>> {
        let bound = self.calls.get(Verb::Get)?;
        let mut request = bound.request();
        calls::set_text(&mut request, &bound.fields().name, name);
        Some(self.calls.unary(&bound, request).await)
    }

    /// The resource as it is now, by whatever method the type has for it.
    pub(super) async fn read(&self, name: &str) -> Option<Result<DynamicMessage, Failure>> {
        if let Some(got) = self.get(name).await {
            return Some(got);
        }
        let listed = self.list_all().await?;
        let missing = || Failure::Wrong(format!("list does not show \"{name}\""));
        Some(listed.and_then(|all| {
            all.into_iter().find(|r| check::name_of(self.ty, r) == name).ok_or_else(missing)
        }))
    }

    pub(super) async fn batch_get(&self, expected: &DynamicMessage) -> Option<Result<(), Failure>> {
        let bound = self.calls.get(Verb::BatchGet)?;
        let Response::BatchGet { items, missing } = &bound.binding.response else { return None };
        let name = check::name_of(self.ty, expected);
        let mut request = bound.request();
        let absent = self.name("absent").text;
        let mut names = vec![Value::String(name)];
        let asks_absent = missing.is_some() && !self.is_singleton();
        if asks_absent {
            names.push(Value::String(absent.clone()));
        }
        calls::set_text(&mut request, &bound.fields().parent, &self.main.parent);
        calls::set(&mut request, &bound.fields().names, Value::List(names));
        Some(self.calls.unary(&bound, request).await.and_then(|answer| {
            let found = calls::items(&answer, items);
            let not_there = missing.as_ref().map(|field| answer.get_field(field).into_owned());
            let not_there =
                not_there.and_then(|v| v.as_list().map(<[Value]>::to_vec)).unwrap_or_default();
            let absent = if asks_absent { vec![Value::String(absent)] } else { Vec::new() };
            if found == [expected.clone()] && not_there == absent {
                return Ok(());
            }
            Err(Failure::Wrong(format!(
                "batch get found {} and missed {}",
                found.len(),
                not_there.len()
            )))
        }))
    }

    pub(super) async fn expect_absent(&self, name: &str) -> Option<Result<(), Failure>> {
        let got = self.get(name).await?;
        Some(calls::expect_code(got, Verb::Get, Code::NotFound))
    }

    /// A type without a way to create: nothing is there, and every method says so.
    pub(super) async fn run_empty(&self, log: &mut Log) {
        log.skip(Step::Create, "no create method");
        if let Some(absent) = self.expect_absent(&self.main.text).await {
            log.note(Step::Empty, absent);
        }
        if let Some(listed) = self.list_all().await {
            let empty = listed.and_then(|all| match all.len() {
                0 => Ok(()),
                n => Err(Failure::Wrong(format!("list shows {n} resources that nobody created"))),
            });
            log.note(Step::Empty, empty);
        }
        if let Some(bound) = self.calls.get(Verb::Delete) {
            let result = self.delete_call(&bound, &self.main.text, None).await;
            log.note(Step::Empty, calls::expect_code(result, Verb::Delete, Code::NotFound));
        }
        if let Some(bound) = self.calls.get(Verb::Update) {
            let mut resource = self.filled(0);
            self.put_name(&mut resource, &self.main.text);
            let result = self.update_call(&bound, resource, &[]).await;
            log.note(Step::Empty, calls::expect_code(result, Verb::Update, Code::NotFound));
        }
        if let Some(batch) = self.batch_get_absent().await {
            log.note(Step::Empty, batch);
        }
        log.skip(Step::Empty, "only watch methods are bound");
    }

    async fn batch_get_absent(&self) -> Option<Result<(), Failure>> {
        let bound = self.calls.get(Verb::BatchGet)?;
        let Response::BatchGet { items, missing } = &bound.binding.response else { return None };
        let mut request = bound.request();
        calls::set_text(&mut request, &bound.fields().parent, &self.main.parent);
        calls::set_text(&mut request, &bound.fields().names, &self.main.text);
        let answer = self.calls.unary(&bound, request).await;
        if missing.is_none() {
            return Some(calls::expect_code(answer, Verb::BatchGet, Code::NotFound));
        }
        Some(answer.and_then(|answer| match calls::items(&answer, items).len() {
            0 => Ok(()),
            n => Err(Failure::Wrong(format!("batch get found {n} resources that nobody created"))),
        }))
    }
}
