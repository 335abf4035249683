//! Where seeds decide what happens next, `select!` must not: one that is not `biased;` draws the order of its branches from
//! randomness that no seam gives, and a simulated run would not be the same twice.

use proc_macro2::{TokenStream, TokenTree};

use crate::files::{File, Tree};

/// What runs in simulated worlds, or in the place of what does.
const SIMULATED: &[&str] =
    &["crates/store/src/", "crates/node/src/", "crates/api/src/", "crates/bowline/src/fleet/"];

pub(crate) fn unbiased(tree: &Tree) -> Vec<String> {
    tree.with_extension("rs").filter(|f| is_simulated(&f.path)).flat_map(in_file).collect()
}

fn is_simulated(path: &str) -> bool {
    SIMULATED.iter().any(|folder| path.starts_with(folder))
}

fn in_file(file: &File) -> Vec<String> {
    let Ok(tokens) = file.text.parse::<TokenStream>() else {
        return vec![format!("{}:1: does not parse", file.path)];
    };
    let mut lines = Vec::new();
    look(tokens, &mut lines);
    lines.iter().map(|line| format!("{}:{line}: `select!` without `biased;`", file.path)).collect()
}

/// The lines of each `select! { … }` that begins otherwise, also of those within others and within other macros.
fn look(tokens: TokenStream, lines: &mut Vec<usize>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else { continue };
        if at >= 2 && is_select(&tokens[at - 2], &tokens[at - 1]) && !is_biased(group.stream()) {
            lines.push(tokens[at - 2].span().start().line);
        }
        look(group.stream(), lines);
    }
}

fn is_select(name: &TokenTree, bang: &TokenTree) -> bool {
    matches!(name, TokenTree::Ident(name) if name == "select")
        && matches!(bang, TokenTree::Punct(bang) if bang.as_char() == '!')
}

fn is_biased(branches: TokenStream) -> bool {
    let mut first = branches.into_iter();
    matches!(first.next(), Some(TokenTree::Ident(word)) if word == "biased")
        && matches!(first.next(), Some(TokenTree::Punct(end)) if end.as_char() == ';')
}

#[test]
fn a_select_without_bias_is_found_wherever_it_hides() {
    let text = "fn f() {
        // select! { in a comment }
        tokio::select! { biased; a = b => {}, }
        loop { tokio::select! {
            a = biased => vec![select! { c = d => {} }],
        } }
    }";
    let file = File { path: "f.rs".to_owned(), text: text.to_owned() };
    let found = in_file(&file);
    assert_eq!(
        found,
        ["f.rs:4: `select!` without `biased;`", "f.rs:5: `select!` without `biased;`"]
    );
}
