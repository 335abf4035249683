//! HTTP rules of `google.api.http`: a parsed path template with its verb and body.
//!
//! Templates follow the grammar of `google/api/http.proto`:
//! `"/" segment {"/" segment} [":" verb]`, `segment = "*" | "**" | LITERAL | "{" path ["=" template] "}"`.
//! Routing over many templates is not here.

/// Longest template, in bytes, and most segments.
const BYTES_MAX: usize = 4096;
const SEGMENTS_MAX: usize = 64;

/// One way to reach a method over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRule {
    /// `GET`, `PUT`, `POST`, `DELETE`, `PATCH`, or the name of a custom one.
    pub method: String,
    pub template: Template,
    /// Request field that is the body; `*` for all that the path does not bind; empty for none.
    pub body: String,
    /// Response field that is the body; empty for the whole response.
    pub response_body: String,
}

/// A parsed path template; variables are flattened, so that a path is one list of segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pub segments: Vec<Segment>,
    /// What stands after the last `:`.
    pub verb: Option<String>,
    pub variables: Vec<Variable>,
    /// As written.
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    Literal(String),
    /// `*`: exactly one segment.
    One,
    /// `**`: zero or more segments, only at the end.
    Rest,
}

/// A variable: the request field that takes the text of `segments[start..end]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// `name`, `device.name`.
    pub field_path: String,
    pub start: usize,
    pub end: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {offset} of path template \"{template}\"")]
pub struct TemplateError {
    pub template: String,
    pub offset: usize,
    pub problem: &'static str,
}

impl Template {
    /// Parses a template as `google.api.http` has it.
    ///
    /// # Errors
    /// [`TemplateError`] with the byte offset of what is wrong.
    pub fn parse(text: &str) -> Result<Template, TemplateError> {
        let mut parser = Parser { text, at: 0, segments: Vec::new(), variables: Vec::new() };
        match parser.template() {
            Ok(verb) => Ok(Template {
                segments: parser.segments,
                verb,
                variables: parser.variables,
                text: text.to_owned(),
            }),
            Err(problem) => {
                let template = text.chars().take(200).collect();
                Err(TemplateError { template, offset: parser.at, problem })
            }
        }
    }

    /// The values of the variables, by field path, if a path (split at `/`, decoded, without its verb) has this template.
    ///
    /// A `*` takes one non-empty segment; a `**` all that is left.
    pub fn matches<'t>(
        &'t self,
        path: &[&str],
        verb: Option<&str>,
    ) -> Option<Vec<(&'t str, String)>> {
        let open = self.segments.last() == Some(&Segment::Rest);
        let fixed = self.segments.len() - usize::from(open);
        let length_fits = if open { path.len() >= fixed } else { path.len() == fixed };
        if self.verb.as_deref() != verb || !length_fits {
            return None;
        }
        let fits = self.segments.iter().zip(path).all(|(segment, part)| match segment {
            Segment::Literal(text) => text == part,
            Segment::One => !part.is_empty(),
            Segment::Rest => true,
        });
        fits.then(|| self.captures(path))
    }

    fn captures<'t>(&'t self, path: &[&str]) -> Vec<(&'t str, String)> {
        let mut values = Vec::with_capacity(self.variables.len());
        for variable in &self.variables {
            let to_the_end = self.segments[..variable.end].last() == Some(&Segment::Rest);
            let end = if to_the_end { path.len() } else { variable.end };
            let parts = path.get(variable.start..end).unwrap_or_default();
            values.push((variable.field_path.as_str(), parts.join("/")));
        }
        values
    }

    /// The path with these values of the variables, unescaped; `None` if one is missing or does not fit its segments.
    pub fn render(&self, value_of: &dyn Fn(&str) -> Option<String>) -> Option<String> {
        let mut path = String::new();
        let mut at = 0;
        while at < self.segments.len() {
            path.push('/');
            match self.variables.iter().find(|variable| variable.start == at) {
                Some(variable) => {
                    path.push_str(&self.fitting(variable, value_of(&variable.field_path)?)?);
                    at = variable.end;
                }
                None => {
                    path.push_str(if let Segment::Literal(text) = &self.segments[at] {
                        text
                    } else {
                        return None;
                    });
                    at += 1;
                }
            }
        }
        if let Some(verb) = &self.verb {
            path.push(':');
            path.push_str(verb);
        }
        Some(path)
    }

    fn fitting(&self, variable: &Variable, value: String) -> Option<String> {
        let own = Template {
            segments: self.segments[variable.start..variable.end].to_vec(),
            verb: None,
            variables: Vec::new(),
            text: String::new(),
        };
        let parts: Vec<&str> = value.split('/').collect();
        own.matches(&parts, None).is_some().then_some(value)
    }

    /// The template with variables written as what they match: equal for templates that match the same paths.
    pub fn shape(&self) -> String {
        let mut shape = String::new();
        for segment in &self.segments {
            shape.push('/');
            shape.push_str(match segment {
                Segment::Literal(text) => text,
                Segment::One => "*",
                Segment::Rest => "**",
            });
        }
        if let Some(verb) = &self.verb {
            shape.push(':');
            shape.push_str(verb);
        }
        shape
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    segments: Vec<Segment>,
    variables: Vec<Variable>,
}

impl Parser<'_> {
    fn template(&mut self) -> Result<Option<String>, &'static str> {
        if self.text.len() > BYTES_MAX {
            return Err("too many characters");
        }
        self.expect('/', "expected `/`")?;
        self.segments_until(false)?;
        let verb = if self.eat(':') { Some(self.literal()?) } else { None };
        if self.at < self.text.len() {
            return Err("expected the end");
        }
        let rest = self.segments.iter().position(|segment| *segment == Segment::Rest);
        match rest {
            Some(at) if at + 1 < self.segments.len() => Err("`**` is only allowed at the end"),
            _ => Ok(verb),
        }
    }

    fn segments_until(&mut self, in_variable: bool) -> Result<(), &'static str> {
        loop {
            if self.segments.len() >= SEGMENTS_MAX {
                return Err("too many segments");
            }
            self.segment(in_variable)?;
            if !self.eat('/') {
                return Ok(());
            }
        }
    }

    fn segment(&mut self, in_variable: bool) -> Result<(), &'static str> {
        if self.eat('*') {
            let segment = if self.eat('*') { Segment::Rest } else { Segment::One };
            self.segments.push(segment);
            return Ok(());
        }
        if self.peek() == Some('{') {
            return if in_variable { Err("a variable inside a variable") } else { self.variable() };
        }
        let literal = self.literal()?;
        self.segments.push(Segment::Literal(literal));
        Ok(())
    }

    fn variable(&mut self) -> Result<(), &'static str> {
        self.expect('{', "expected `{`")?;
        let field_path = self.field_path()?;
        let start = self.segments.len();
        if self.eat('=') {
            self.segments_until(true)?;
        } else {
            self.segments.push(Segment::One);
        }
        self.expect('}', "expected `}`")?;
        if self.variables.iter().any(|variable| variable.field_path == field_path) {
            return Err("the same variable twice");
        }
        self.variables.push(Variable { field_path, start, end: self.segments.len() });
        Ok(())
    }

    fn field_path(&mut self) -> Result<String, &'static str> {
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        let start = self.at;
        let path = self.take_while(fine);
        let proper = path.split('.').all(|part| {
            part.chars().next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        });
        if proper {
            return Ok(path);
        }
        self.at = start;
        Err("expected a field path")
    }

    fn literal(&mut self) -> Result<String, &'static str> {
        let fine = |c: char| {
            !c.is_whitespace()
                && !c.is_control()
                && !matches!(c, '/' | '{' | '}' | '*' | ':' | '=' | '?' | '#')
        };
        let text = self.take_while(fine);
        if text.is_empty() { Err("expected a literal, `*` or a variable") } else { Ok(text) }
    }

    fn take_while(&mut self, fine: impl Fn(char) -> bool) -> String {
        let rest = &self.text[self.at..];
        let end = rest.find(|c| !fine(c)).unwrap_or(rest.len());
        self.at += end;
        rest[..end].to_owned()
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn expect(&mut self, wanted: char, problem: &'static str) -> Result<(), &'static str> {
        if self.eat(wanted) { Ok(()) } else { Err(problem) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(template: &str, path: &str, verb: Option<&str>) -> Option<Vec<(String, String)>> {
        let template = Template::parse(template).unwrap();
        let parts: Vec<&str> = path.split('/').collect();
        let values = template.matches(&parts, verb)?;
        Some(values.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
    }

    fn one(name: &str, value: &str) -> Option<Vec<(String, String)>> {
        Some(vec![(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn a_variable_takes_its_segments() {
        let template = "/v1/{name=projects/*/topics/*}";
        assert_eq!(
            found(template, "v1/projects/p/topics/t", None),
            one("name", "projects/p/topics/t")
        );
        assert_eq!(found(template, "v1/projects/p/topics/", None), None);
        assert_eq!(found(template, "v1/projects/p/topics/t/x", None), None);
    }

    #[test]
    fn a_verb_must_be_there_when_asked_for() {
        let template = "/v1/{name=projects/*}:undelete";
        assert_eq!(found(template, "v1/projects/p", Some("undelete")), one("name", "projects/p"));
        assert_eq!(found(template, "v1/projects/p", None), None);
    }

    #[test]
    fn the_rest_may_be_empty() {
        assert_eq!(
            found("/v1/{name=operations/**}", "v1/operations/a/b", None),
            one("name", "operations/a/b")
        );
        assert_eq!(
            found("/v1/{name=operations/**}", "v1/operations", None),
            one("name", "operations")
        );
    }

    #[test]
    fn rendering_is_the_reverse() {
        let template = Template::parse("/v1/{a.name=projects/*}/x/{id}:go").unwrap();
        let value = |path: &str| Some(if path == "id" { "7" } else { "projects/p" }.to_owned());
        assert_eq!(template.render(&value).unwrap(), "/v1/projects/p/x/7:go");
        assert_eq!(template.render(&|_| Some("p".to_owned())), None, "`a.name` must fit");
        assert_eq!(template.shape(), "/v1/projects/*/x/*:go");
    }

    #[test]
    fn what_is_no_template_says_where() {
        for (text, offset, problem) in [
            ("v1", 0, "expected `/`"),
            ("/v1/", 4, "expected a literal, `*` or a variable"),
            ("/{a={b}}", 4, "a variable inside a variable"),
            ("/{a", 3, "expected `}`"),
            ("/{1a}", 2, "expected a field path"),
            ("/{a}/{a}", 8, "the same variable twice"),
            ("/**/a", 5, "`**` is only allowed at the end"),
            ("/a}", 2, "expected the end"),
        ] {
            let error = Template::parse(text).unwrap_err();
            assert_eq!((error.offset, error.problem), (offset, problem), "{text}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in ".{0,60}") {
            _ = Template::parse(&text);
        }

        #[test]
        fn matching_never_panics(text in "[/a-c{}=*:.]{0,30}", path in "[/a-c:]{0,20}") {
            if let Ok(template) = Template::parse(&text) {
                let parts: Vec<&str> = path.split('/').collect();
                template.matches(&parts, None);
            }
        }

        #[test]
        fn a_rendered_path_matches(ids in prop::collection::vec("[a-z0-9.-]{1,6}", 2)) {
            let template = Template::parse("/v1/{parent=a/*}/b/{id}").unwrap();
            let value = |path: &str| Some(if path == "id" { ids[1].clone() } else { format!("a/{}", ids[0]) });
            let path = template.render(&value).unwrap();
            let parts: Vec<&str> = path[1..].split('/').collect();
            let found = template.matches(&parts, None).unwrap();
            prop_assert_eq!(found, vec![("parent", format!("a/{}", ids[0])), ("id", ids[1].clone())]);
        }
    }
}
