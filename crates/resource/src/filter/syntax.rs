//! The grammar: from text to a tree that knows no types yet.
//!
//! ```text
//! or     := and { ("OR" | "|") and }
//! and    := cond { ["AND" | "+"] cond }
//! cond   := ("NOT" | "-") cond | "(" or ")" | path rhs | word | "text"
//! rhs    := op value | op "(" values ")" | ":" ("*" | value | "(" values ")")
//!         | "IS" ["NOT"] ("NULL" | "NaN") | ["NOT"] "IN" list | ["NOT"] "LIKE" "text"
//!         | ("CONTAINS" | "HAS") ("ANY" list | "ALL" list | ["VALUE"] value)
//! list   := "(" value {"," value} ")" | "[" value {"," value} "]"
//! values := values of one test joined by AND, OR and NOT
//! ```

use std::rc::Rc;

use crate::path::Segment;

use super::error::{FilterProblem, Misfit};
use super::scan::{Quoted, Scan};
use super::{FILTER_BYTES_MAX, FILTER_DEPTH_MAX, Operator};

/// A condition as written.
#[derive(Clone, Debug)]
pub(super) enum Raw {
    And(Vec<Raw>),
    Or(Vec<Raw>),
    Not(Box<Raw>),
    Search(RawValue),
    Test { path: Rc<Vec<Segment>>, test: RawTest },
}

#[derive(Clone, Debug)]
pub(super) enum RawTest {
    Compare(Operator, RawValue),
    IsNull { negated: bool },
    IsNan { negated: bool },
    In { negated: bool, values: Vec<RawValue> },
    Like { negated: bool, pattern: RawValue },
    ContainsAny(Vec<RawValue>),
    ContainsAll(Vec<RawValue>),
    Present,
    Has(RawValue),
}

/// A value as written, with its place.
#[derive(Clone, Debug)]
pub(super) struct RawValue {
    pub(super) offset: usize,
    pub(super) form: Form,
}

#[derive(Clone, Debug)]
pub(super) enum Form {
    Word(String),
    Quoted(Quoted),
    List(Vec<RawValue>),
    Braces(Vec<(Segment, RawValue)>),
}

impl RawValue {
    /// Whether it is this word, in any case and without quotes.
    pub(super) fn is_word(&self, expected: &str) -> bool {
        matches!(&self.form, Form::Word(word) if word.eq_ignore_ascii_case(expected))
    }
}

/// Parses a whole filter; `None` matches everything.
pub(super) fn parse(text: &str) -> Result<Option<Raw>, Misfit> {
    if text.len() > FILTER_BYTES_MAX {
        return Err(Misfit::new(FILTER_BYTES_MAX, FilterProblem::TooLong));
    }
    let mut parser = Parser { scan: Scan::new(text), depth: 0 };
    parser.scan.skip_space();
    if parser.scan.is_end() || text.trim() == "()" {
        return Ok(None);
    }
    let raw = parser.or()?;
    match parser.scan.is_end() {
        true => Ok(Some(raw)),
        false => Err(parser.scan.expected("AND, OR or the end")),
    }
}

struct Parser<'a> {
    scan: Scan<'a>,
    depth: usize,
}

impl Parser<'_> {
    /// Runs `inner` one level deeper.
    fn deeper<T>(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<T, Misfit>,
    ) -> Result<T, Misfit> {
        if self.depth >= FILTER_DEPTH_MAX {
            return Err(Misfit::new(self.scan.at(), FilterProblem::TooDeep));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn or(&mut self) -> Result<Raw, Misfit> {
        self.alternatives(&mut Self::cond)
    }

    /// Conditions of any kind, joined by OR and AND; stops, after space, at what is neither.
    fn alternatives(
        &mut self,
        cond: &mut dyn FnMut(&mut Self) -> Result<Raw, Misfit>,
    ) -> Result<Raw, Misfit> {
        let mut any = vec![self.sequence(cond)?];
        while self.scan.take("|") || self.scan.take_keyword(&["OR"]) {
            self.scan.skip_space();
            any.push(self.sequence(cond)?);
        }
        Ok(one_or(any, Raw::Or))
    }

    fn sequence(
        &mut self,
        cond: &mut dyn FnMut(&mut Self) -> Result<Raw, Misfit>,
    ) -> Result<Raw, Misfit> {
        let mut all = vec![cond(self)?];
        loop {
            self.scan.skip_space();
            if self.scan.take("+") || self.scan.take_keyword(&["AND"]) {
                self.scan.skip_space();
            } else if self.ends_sequence() {
                return Ok(one_or(all, Raw::And));
            }
            all.push(cond(self)?);
        }
    }

    fn ends_sequence(&mut self) -> bool {
        let at = self.scan.at();
        let ends = matches!(self.scan.peek(), None | Some(')' | '|' | ']' | '}' | ','))
            || self.scan.take_keyword(&["OR"]);
        self.scan.go_to(at);
        ends
    }

    fn cond(&mut self) -> Result<Raw, Misfit> {
        if self.takes_not() {
            let inner = self.deeper(Self::cond)?;
            return Ok(Raw::Not(Box::new(inner)));
        }
        if self.scan.take("(") {
            return self.deeper(|parser| parser.parenthesised(&mut Self::cond));
        }
        if let Some(quote @ ('"' | '\'')) = self.scan.peek() {
            let offset = self.scan.at();
            let form = Form::Quoted(self.scan.quoted(quote)?);
            return Ok(Raw::Search(RawValue { offset, form }));
        }
        self.test_or_search()
    }

    /// `NOT`, or a minus right before what it negates.
    fn takes_not(&mut self) -> bool {
        let found = self.scan.take_keyword(&["NOT"]) || self.scan.take("-");
        if found {
            self.scan.skip_space();
        }
        found
    }

    /// What follows an opening parenthesis, with the closing one.
    fn parenthesised(
        &mut self,
        cond: &mut dyn FnMut(&mut Self) -> Result<Raw, Misfit>,
    ) -> Result<Raw, Misfit> {
        self.scan.skip_space();
        let inner = self.alternatives(cond)?;
        match self.scan.take(")") {
            true => Ok(inner),
            false => Err(self.scan.expected("\")\", AND or OR")),
        }
    }

    fn test_or_search(&mut self) -> Result<Raw, Misfit> {
        let offset = self.scan.at();
        if let Some(path) = self.scan.path()? {
            if self.scan.peek() == Some('(') {
                let name = path.iter().map(|s| s.text.as_str()).collect::<Vec<_>>().join(".");
                return Err(Misfit::new(offset, FilterProblem::Function { name }));
            }
            self.scan.skip_space();
            if let Some(found) = self.rhs(&Rc::new(path))? {
                return Ok(found);
            }
        }
        self.scan.go_to(offset);
        match self.scan.word() {
            "" => Err(self.scan.expected("a condition")),
            word => Ok(Raw::Search(RawValue { offset, form: Form::Word(word.to_owned()) })),
        }
    }

    /// What follows a path; `None` if it was no path but a word to search.
    fn rhs(&mut self, path: &Rc<Vec<Segment>>) -> Result<Option<Raw>, Misfit> {
        if let Some(operator) = self.operator() {
            self.scan.skip_space();
            let test = |value| RawTest::Compare(operator, value);
            return self.argument(path, &test, "a value").map(Some);
        }
        if self.scan.take(":") {
            self.scan.skip_space();
            let has = |value: RawValue| match value.is_word("*") {
                true => RawTest::Present,
                false => RawTest::Has(value),
            };
            return self.argument(path, &has, "a value or *").map(Some);
        }
        let test = match self.keyword_test()? {
            Some(test) => test,
            None => return Ok(None),
        };
        Ok(Some(Raw::Test { path: Rc::clone(path), test }))
    }

    fn operator(&mut self) -> Option<Operator> {
        let marks = [
            ("==", Operator::Equal),
            ("=", Operator::Equal),
            ("!=", Operator::NotEqual),
            ("<=", Operator::LessOrEqual),
            ("<", Operator::Less),
            (">=", Operator::GreaterOrEqual),
            (">", Operator::Greater),
        ];
        marks.into_iter().find(|(mark, _)| self.scan.take(mark)).map(|(_, operator)| operator)
    }

    /// The right side of an operator: a value, or several in parentheses, each tested on its own.
    fn argument(
        &mut self,
        path: &Rc<Vec<Segment>>,
        test: &dyn Fn(RawValue) -> RawTest,
        expected: &'static str,
    ) -> Result<Raw, Misfit> {
        if self.scan.take("(") {
            let mut cond = |parser: &mut Self| parser.argument_cond(path, test);
            return self.deeper(|parser| parser.parenthesised(&mut cond));
        }
        let value = self.value(expected)?;
        Ok(Raw::Test { path: Rc::clone(path), test: test(value) })
    }

    fn argument_cond(
        &mut self,
        path: &Rc<Vec<Segment>>,
        test: &dyn Fn(RawValue) -> RawTest,
    ) -> Result<Raw, Misfit> {
        let negated = self.scan.take_keyword(&["NOT"]);
        self.scan.skip_space();
        let inner = self.argument(path, test, "a value")?;
        Ok(if negated { Raw::Not(Box::new(inner)) } else { inner })
    }

    fn keyword_test(&mut self) -> Result<Option<RawTest>, Misfit> {
        if self.scan.take_keyword(&["IS"]) {
            return self.is_test().map(Some);
        }
        let start = self.scan.at();
        let negated = self.scan.take_keyword(&["NOT"]);
        self.scan.skip_space();
        if self.scan.take_keyword(&["IN"]) {
            return Ok(Some(RawTest::In { negated, values: self.list()? }));
        }
        if self.scan.take_keyword(&["LIKE"]) {
            self.scan.skip_space();
            let pattern = self.value("a text")?;
            return Ok(Some(RawTest::Like { negated, pattern }));
        }
        if !negated && self.scan.take_keyword(&["CONTAINS", "CONTAIN", "HAS", "HAVE", "HAVING"]) {
            return self.contains_test().map(Some);
        }
        self.scan.go_to(start);
        Ok(None)
    }

    fn is_test(&mut self) -> Result<RawTest, Misfit> {
        self.scan.skip_space();
        let negated = self.scan.take_keyword(&["NOT"]);
        self.scan.skip_space();
        if self.scan.take_keyword(&["NULL"]) {
            Ok(RawTest::IsNull { negated })
        } else if self.scan.take_keyword(&["NAN"]) {
            Ok(RawTest::IsNan { negated })
        } else {
            Err(self.scan.expected("NULL or NaN"))
        }
    }

    fn contains_test(&mut self) -> Result<RawTest, Misfit> {
        self.scan.skip_space();
        if self.scan.take_keyword(&["ANY"]) {
            return Ok(RawTest::ContainsAny(self.list()?));
        }
        if self.scan.take_keyword(&["ALL"]) {
            return Ok(RawTest::ContainsAll(self.list()?));
        }
        // `VALUE` is optional, and may also be the value itself.
        let before = self.scan.at();
        if self.scan.take_keyword(&["VALUE"]) {
            self.scan.skip_space();
            if self.ends_sequence() {
                self.scan.go_to(before);
            }
        }
        Ok(RawTest::ContainsAny(vec![self.value("a value, ANY or ALL")?]))
    }

    fn list(&mut self) -> Result<Vec<RawValue>, Misfit> {
        self.scan.skip_space();
        let close = match (self.scan.take("("), self.scan.take("[")) {
            (true, _) => ")",
            (false, true) => "]",
            (false, false) => return Err(self.scan.expected("a list in ( ) or [ ]")),
        };
        let values = self.items(close)?;
        Ok(values)
    }

    /// One or more values up to `close`.
    fn items(&mut self, close: &str) -> Result<Vec<RawValue>, Misfit> {
        let mut values = Vec::new();
        loop {
            self.scan.skip_space();
            values.push(self.value("a value")?);
            self.scan.skip_space();
            if self.scan.take(close) {
                return Ok(values);
            }
            if !self.scan.take(",") {
                return Err(self.scan.expected(&format!("\",\" or \"{close}\"")));
            }
        }
    }

    fn value(&mut self, expected: &str) -> Result<RawValue, Misfit> {
        let offset = self.scan.at();
        let form = match self.scan.peek() {
            Some(quote @ ('"' | '\'')) => Form::Quoted(self.scan.quoted(quote)?),
            Some('{') => {
                self.scan.take("{");
                Form::Braces(self.deeper(Self::braces)?)
            }
            Some('[') => {
                self.scan.take("[");
                Form::List(self.deeper(|parser| parser.items("]"))?)
            }
            _ => match self.scan.word() {
                "" => return Err(self.scan.expected(expected)),
                word => Form::Word(word.to_owned()),
            },
        };
        Ok(RawValue { offset, form })
    }

    /// Fields of a message up to the closing brace: `{ name: "x", size 3 }`.
    fn braces(&mut self) -> Result<Vec<(Segment, RawValue)>, Misfit> {
        let mut fields = Vec::new();
        loop {
            self.scan.skip_space();
            if self.scan.take("}") {
                return Ok(fields);
            }
            let key = self.brace_key()?;
            self.scan.skip_space();
            self.scan.take(":");
            self.scan.skip_space();
            fields.push((key, self.value("a value")?));
            self.scan.skip_space();
            if !self.scan.take(",") && self.scan.peek() != Some('}') {
                return Err(self.scan.expected("\",\" or \"}\""));
            }
        }
    }

    fn brace_key(&mut self) -> Result<Segment, Misfit> {
        let offset = self.scan.at();
        if let Some(quote @ ('"' | '\'')) = self.scan.peek() {
            let text = self.scan.quoted(quote)?.text();
            return Ok(Segment { text, offset, quoted: true });
        }
        match self.scan.path()?.as_deref() {
            Some([key]) => Ok(key.clone()),
            _ => Err(self.scan.expected_at(offset, "a field or \"}\"")),
        }
    }
}

/// The only one, or all of them together.
fn one_or(mut nodes: Vec<Raw>, all: fn(Vec<Raw>) -> Raw) -> Raw {
    match nodes.len() {
        1 => nodes.remove(0),
        _ => all(nodes),
    }
}
