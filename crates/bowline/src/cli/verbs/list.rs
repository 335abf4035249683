//! `bowline list`: the resources of a type, following pages as far as asked.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;

use super::super::args::ListArgs;
use super::super::calls::{Page, Query};
use super::super::error::{Error, exit};
use super::super::explain::Explanation;
use super::super::print::Printer;
use super::super::say;

/// Resources asked for in one request, unless said otherwise.
const PAGE_SIZE: u32 = 200;

pub(crate) async fn run(args: ListArgs, out: &mut dyn Write) -> Result<(), Error> {
    let session = super::open(&args.server).await?;
    let ty = session.catalog.resolve_type(&args.kind, session.version.as_deref())?;
    let query = Query {
        parent: args.parent,
        filter: args.filter,
        order_by: args.order_by,
        explain: args.explain,
    };
    let mut left = if args.all { u64::MAX } else { args.limit };
    let printer = Printer::new(out, Arc::clone(&ty), args.output.output, session.now());
    let mut printer = printer.with_columns(&args.columns)?;
    let mut token = args.page_token.unwrap_or_default();
    let mut unreachable = BTreeSet::new();
    let mut explanation = Explanation::default();
    while left > 0 {
        let most = u32::try_from(left).unwrap_or(u32::MAX);
        let page_size = args.page_size.unwrap_or(PAGE_SIZE).min(most);
        let Page { mut items, next_page_token, unreachable: regions, explained } =
            session.list(&ty, &query, page_size, &token).await?;
        unreachable.extend(regions);
        explanation.add(explained.as_deref())?;
        // A server may ignore the page size; what it gave too much is not printed.
        items.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        left -= items.len() as u64;
        printer.page(&items)?;
        token = next_page_token;
        if token.is_empty() {
            break;
        }
    }
    printer.finish(&token)?;
    if args.explain {
        say::line(&explanation.render()?);
    }
    if !token.is_empty() {
        say::note(&format!("there is more: use --all, a larger --limit, or --page-token {token}"));
    }
    partial(&unreachable)
}

/// A list without the resources of some regions is no success.
pub(crate) fn partial(unreachable: &BTreeSet<String>) -> Result<(), Error> {
    if unreachable.is_empty() {
        return Ok(());
    }
    for place in unreachable {
        say::note(&format!("{place} could not be reached; its resources are missing above"));
    }
    Err(Error::Partly {
        failed: unreachable.len(),
        total: unreachable.len() + 1,
        worst: exit::PARTIAL,
    })
}
