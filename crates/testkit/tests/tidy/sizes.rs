//! Sizes of files and functions, in lines of code: no blank lines, no comments, no tests.
//!
//! What is over a limit stands in `ratchet.txt` with its size and may only shrink; nothing new gets in.

use std::collections::BTreeMap;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::files::{File, Tree};

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;
const RATCHET: &str = "crates/testkit/tests/tidy/ratchet.txt";

pub(crate) fn overruns(tree: &Tree) -> Vec<String> {
    let measured: BTreeMap<String, usize> =
        tree.with_extension("rs").filter(|f| !is_test(&f.path)).flat_map(too_large).collect();
    let listed = ratchet(tree);
    let mut findings = Vec::new();
    for (what, lines) in &measured {
        match listed.get(what) {
            None => findings.push(format!("{what}: {lines} lines of code")),
            Some(limit) if lines > limit => {
                findings.push(format!("{what}: grew from {limit} to {lines} lines of code"));
            }
            Some(_) => {}
        }
    }
    for (what, limit) in &listed {
        match measured.get(what) {
            None => findings.push(format!("{what}: within the limit by now, take it off the list")),
            Some(lines) if lines < limit => {
                findings.push(format!("{what}: shrank, write {lines} for {limit}"));
            }
            Some(_) => {}
        }
    }
    findings
}

/// Lines `path[ function] = lines`.
fn ratchet(tree: &Tree) -> BTreeMap<String, usize> {
    let text = tree.find(RATCHET).map_or("", |f| f.text.as_str());
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .map(|line| {
            let (what, lines) =
                line.split_once(" = ").expect("lines of the list: PATH [FUNCTION] = LINES");
            (what.to_owned(), lines.trim().parse().expect("a number of lines"))
        })
        .collect()
}

fn is_test(path: &str) -> bool {
    path.split('/').any(|part| part == "tests") || path.ends_with("tests.rs")
}

fn too_large(file: &File) -> Vec<(String, usize)> {
    let Ok(syntax) = syn::parse_file(&file.text) else {
        return vec![(format!("{} does not parse", file.path), usize::MAX)];
    };
    let mut measure =
        Measure { code: code_lines(&file.text), functions: Vec::new(), tests: Vec::new() };
    measure.visit_file(&syntax);
    let in_tests =
        |line: usize| measure.tests.iter().any(|(from, to)| (*from..=*to).contains(&line));
    let lines = measure.code.iter().filter(|line| !in_tests(**line)).count();
    let mut large: Vec<(String, usize)> = measure
        .functions
        .iter()
        .filter(|(_, lines)| *lines > FUNCTION_LINES_MAX)
        .map(|(name, lines)| (format!("{} {name}", file.path), *lines))
        .collect();
    if lines > FILE_LINES_MAX {
        large.push((file.path.clone(), lines));
    }
    large
}

/// Numbers of the lines that hold code.
fn code_lines(text: &str) -> Vec<usize> {
    let is_code = |line: &str| !line.is_empty() && !line.starts_with("//");
    (1..).zip(text.lines()).filter(|(_, line)| is_code(line.trim())).map(|(at, _)| at).collect()
}

struct Measure {
    code: Vec<usize>,
    functions: Vec<(String, usize)>,
    /// First and last lines of what is compiled for tests only.
    tests: Vec<(usize, usize)>,
}

impl Measure {
    fn function(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let from = signature.span().start().line;
        let to = body.span().end().line;
        let lines = self.code.iter().filter(|line| (from..=to).contains(*line)).count();
        self.functions.push((signature.ident.to_string(), lines));
    }
}

impl<'ast> Visit<'ast> for Measure {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.attrs.iter().any(is_for_tests) {
            self.tests.push((item.span().start().line, item.span().end().line));
        } else {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(body) = &item.default {
            self.function(&item.sig, body);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

/// `#[cfg(test)]`
fn is_for_tests(attribute: &syn::Attribute) -> bool {
    let syn::Meta::List(list) = &attribute.meta else { return false };
    list.path.is_ident("cfg") && list.tokens.to_string() == "test"
}

#[test]
fn a_long_function_is_found_and_its_comments_are_not_counted() {
    let body = "    let a = 1;\n    // why\n\n".repeat(FUNCTION_LINES_MAX);
    let file = File { path: "x.rs".to_owned(), text: format!("fn long() {{\n{body}}}\n") };
    // The line of the signature and the closing brace count.
    assert_eq!(too_large(&file), [("x.rs long".to_owned(), FUNCTION_LINES_MAX + 2)]);
}

#[test]
fn tests_do_not_count() {
    let tests =
        format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "const A: u8 = 1;\n".repeat(FILE_LINES_MAX));
    let of = |text: String| too_large(&File { path: "x.rs".to_owned(), text });
    assert!(of(tests.clone()).is_empty());
    assert_eq!(of(tests.replace("#[cfg(test)]", "")).len(), 1);
}
