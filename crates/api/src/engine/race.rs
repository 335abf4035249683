//! Following the ways of a plan until one of them has the answer.

use bowline_base::Status;
use bowline_resource::name::Scope;
use bowline_store::upkeep::Upkeep;
use bowline_store::{IndexRange, Snapshot, StoreError, Value};

use super::explain::{Explained, ExplainedWay};
use super::page::{Page, PageQuery};
use super::plan::{Along, Ask, Way, narrowest_scope, plan};
use super::rows::{Names, Points, Ranges, Source, Start};
use super::select::Selection;
use super::sink::{Count, Sink};
use super::{Engine, Route, errors};

/// Rows that each way may look at in the first turn; twice as many in each later one.
const TURN_ROWS: usize = 128;

impl Engine {
    /// Reads one page as of now.
    pub(crate) async fn read_page(
        &self,
        route: &Route,
        selection: &Selection,
        query: &PageQuery,
    ) -> Result<Page, Status> {
        let mut reading = Reading::open(route, selection).await?;
        let ways = reading.plan(Some(query)).await?;
        let bytes_max = self.limits.page_bytes_max;
        let sink =
            |way: &Way<'_>| Sink::page(route, selection, query, bytes_max, way.is_in_order());
        let (sink, mut explained) = reading.race(&ways, Some(query), "page", sink).await?;
        let mut page = sink.into_page();
        if query.is_backward() {
            page.rows.reverse();
        }
        explained.rows_returned = page.rows.len();
        let position = reading.snapshot.position();
        Ok(Page { rows: page.rows, has_more: page.has_more, position, explained })
    }

    /// How many rows the list has in all, and how many lie before `page`.
    pub(crate) async fn count(
        &self,
        route: &Route,
        selection: &Selection,
        query: &PageQuery,
        page: &mut Page,
    ) -> Result<Count, Status> {
        let mut reading = Reading::open(route, selection).await?;
        let ways = reading.plan(None).await?;
        let first = page.rows.first().map(|row| &row.key);
        let sink = |_: &Way<'_>| Sink::count(route, selection, &query.order, first);
        let (sink, explained) = reading.race(&ways, None, "count", sink).await?;
        page.explained.add(explained);
        Ok(sink.into_count())
    }
}

/// One consistent view of a list.
struct Reading<'a> {
    route: &'a Route,
    selection: &'a Selection,
    scope: Scope,
    snapshot: Box<dyn Snapshot>,
}

/// A way that is being followed.
struct Runner<'w, 's> {
    way: &'w Way<'w>,
    source: Source,
    sink: Sink<'s>,
    is_done: bool,
}

impl<'a> Reading<'a> {
    async fn open(route: &'a Route, selection: &'a Selection) -> Result<Self, Status> {
        let snapshot = route.deployment.backend.snapshot().await;
        let snapshot = snapshot.map_err(|error| errors::store(&error))?;
        let scope = narrowest_scope(&ask(route, selection, None));
        Ok(Self { route, selection, scope, snapshot })
    }

    /// The ways along indexes that are complete in this very view.
    async fn plan(&mut self, query: Option<&'a PageQuery>) -> Result<Vec<Way<'a>>, Status> {
        let ask = ask(self.route, self.selection, query);
        let ways = plan(&ask, |_| true);
        if ways.iter().all(|way| way.along().is_none()) {
            return Ok(ways);
        }
        let upkeep = Upkeep::read(self.snapshot.as_mut(), &self.route.resource.table).await;
        let upkeep = upkeep.map_err(|error| errors::store(&error))?;
        Ok(plan(&ask, |index| upkeep.is_ready(index.name())))
    }

    /// Follows all ways in turns, and answers with what the first one gathered that came to its end.
    async fn race<'s>(
        &mut self,
        ways: &[Way<'_>],
        query: Option<&PageQuery>,
        reads: &'static str,
        sink: impl Fn(&Way<'_>) -> Sink<'s>,
    ) -> Result<(Sink<'s>, Explained), Status> {
        let mut runners: Vec<_> = ways
            .iter()
            .map(|way| {
                let (source, sink) = (self.source(way, query), sink(way));
                Runner { way, source, sink, is_done: false }
            })
            .collect();
        let mut turn_rows = TURN_ROWS;
        loop {
            for at in 0..runners.len() {
                runners[at].follow(self.snapshot.as_mut(), turn_rows).await?;
                if runners[at].is_done {
                    let explained = self.explain(&runners, reads);
                    return Ok((runners.swap_remove(at).sink, explained));
                }
            }
            turn_rows = turn_rows.saturating_mul(2);
        }
    }

    fn source(&self, way: &Way<'_>, query: Option<&PageQuery>) -> Source {
        let by_name = query.and_then(|query| query.order.name_in(query.cursor.as_ref()?));
        let start = Start {
            table: self.route.resource.table.clone(),
            scope: self.scope.clone(),
            descending: way.is_in_order()
                && query.is_some_and(|query| query.order.descending() != query.is_backward()),
            after: by_name.filter(|_| way.is_in_order()),
            n_wanted: match query {
                // One more than the page, to know whether there is more.
                Some(query) if way.is_in_order() => query.size + 1,
                _ => TURN_ROWS,
            },
        };
        match way {
            Way::Names { .. } => Source::Names(Names::new(start)),
            Way::Points { along, .. } => {
                let index = self.route.resource.stored_index(along.index);
                let values = along.bounds.ranges().iter().map(|point| point.from.clone().into());
                Source::Points(Points::new(&index, values, start))
            }
            Way::Ranges { along, is_in_order } => {
                let beyond = query.filter(|_| *is_in_order).and_then(|query| {
                    let (value, name) = query.order.field_and_name_in(query.cursor.as_ref()?)?;
                    Some((Value::from(value), name))
                });
                let ranges = self.index_ranges(along);
                Source::Ranges(Ranges::new(ranges.into_iter(), beyond, start))
            }
        }
    }

    fn index_ranges(&self, along: &Along<'_>) -> Vec<IndexRange> {
        let index = self.route.resource.stored_index(along.index);
        let ranges = along.bounds.ranges().iter().map(|range| IndexRange {
            index: index.clone(),
            from: range.from.clone().into(),
            to: range.to.clone().map(Value::from),
        });
        ranges.collect()
    }

    fn explain(&self, runners: &[Runner<'_, '_>], reads: &'static str) -> Explained {
        let ways: Vec<_> = runners.iter().map(|runner| self.explain_way(runner, reads)).collect();
        let rows_looked_at = ways.iter().map(|way| way.rows_looked_at).sum();
        Explained { rows_returned: 0, rows_looked_at, ways }
    }

    fn explain_way(&self, runner: &Runner<'_, '_>, reads: &'static str) -> ExplainedWay {
        let along = runner.way.along();
        ExplainedWay {
            region: None,
            way: match runner.way {
                Way::Names { .. } => "names",
                Way::Points { .. } => "points",
                Way::Ranges { .. } => "ranges",
            }
            .into(),
            reads: reads.into(),
            index: along.map(|along| along.index.path()),
            within: match along {
                Some(along) => along.conditions.clone(),
                None => self.scope.prefix().to_owned(),
            },
            ranges: along.map(|along| along.bounds.ranges().len()),
            in_order: runner.way.is_in_order(),
            rows_looked_at: runner.source.looked_at(),
            answered: runner.is_done,
        }
    }
}

impl Runner<'_, '_> {
    /// Follows the way for about `n_rows` rows, or to its end.
    async fn follow(&mut self, snapshot: &mut dyn Snapshot, n_rows: usize) -> Result<(), Status> {
        let until = self.source.looked_at().saturating_add(n_rows);
        while !self.is_done && self.source.looked_at() < until {
            let rows = self.source.next(snapshot).await;
            let Some(rows) = rows.map_err(|error: StoreError| errors::store(&error))? else {
                self.is_done = true;
                return Ok(());
            };
            for row in &rows {
                if self.sink.take(row)? {
                    self.is_done = true;
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

fn ask<'a>(route: &'a Route, selection: &'a Selection, query: Option<&'a PageQuery>) -> Ask<'a> {
    Ask {
        ty: &route.resource.ty,
        indexes: &route.resource.indexes,
        scope: &selection.scope,
        filter: &selection.filter,
        order: query.map(|query| &query.order),
    }
}
