//! Which ways a list can take to its rows: along the names, or along an index that its filter or order asks something of.
//!
//! Pure: what is decided here can be printed, and is tested without a store. The rule:
//! - Where the filter pins an indexed path down to a few values (*points*), a list by name follows those alone: the entries of
//!   one value are in the order of names, so it starts at the parent or the page token and ends where the parent ends.
//! - A list by another order follows the index that has this order, if there is one. Points compete with it.
//! - Where the filter leaves a *range* of values, how many rows lie in it is not known; it competes with the names.
//! - Ways that compete are followed in turns, and the first that has the page answers: the cost is at most as many times that
//!   of the best as there are ways, and no statistics can be wrong.
//!
//! The filter judges every row, whatever the way, and pages are cut at places in the list, never in an index: what a
//! list answers does not depend on its way.

use std::fmt;

use bowline_resource::filter::Filter;
use bowline_resource::index::{Bounds, DeclaredIndex};
use bowline_resource::name::Scope;
use bowline_resource::order::Order;
use bowline_schema::model::ResourceType;

/// Most values that are followed side by side.
pub(crate) const POINTS_MAX: usize = 64;
/// Most ranges of one index.
const RANGES_MAX: usize = 1_024;
/// Most ways that compete.
const WAYS_MAX: usize = 3;

/// What is asked of the store.
pub(crate) struct Ask<'a> {
    pub(crate) ty: &'a ResourceType,
    pub(crate) indexes: &'a [DeclaredIndex],
    pub(crate) scope: &'a Scope,
    pub(crate) filter: &'a Filter,
    /// `None`: all rows are wanted, each once, in any order.
    pub(crate) order: Option<&'a Order>,
}

/// One way to all rows that can be in the list.
#[derive(Clone, Debug)]
pub(crate) enum Way<'a> {
    /// Along the names of the scope.
    Names { is_in_order: bool },
    /// Along the entries of some values, merged by name.
    Points { along: Along<'a>, is_in_order: bool },
    /// Along ranges of values.
    Ranges { along: Along<'a>, is_in_order: bool },
}

/// Ranges of an index.
#[derive(Clone, Debug)]
pub(crate) struct Along<'a> {
    pub(crate) index: &'a DeclaredIndex,
    pub(crate) bounds: Bounds,
    /// The conditions that the ranges come from; empty if it is the whole index.
    pub(crate) conditions: String,
}

impl Way<'_> {
    /// Whether rows come as the list has them, so that reading ends with the page.
    pub(crate) fn is_in_order(&self) -> bool {
        match self {
            Self::Names { is_in_order }
            | Self::Points { is_in_order, .. }
            | Self::Ranges { is_in_order, .. } => *is_in_order,
        }
    }

    pub(crate) fn along(&self) -> Option<&Along<'_>> {
        match self {
            Self::Names { .. } => None,
            Self::Points { along, .. } | Self::Ranges { along, .. } => Some(along),
        }
    }
}

/// The scope that names are read in: that of the parent, or of a name in the filter if that says more.
pub(crate) fn narrowest_scope(ask: &Ask<'_>) -> Scope {
    let named = ask.filter.name(ask.ty).and_then(|name| Scope::of_name(ask.ty, name).ok());
    match named {
        Some(named) if named.prefix().len() > ask.scope.prefix().len() => named,
        _ => ask.scope.clone(),
    }
}

/// The ways to take; never none. Several of them compete.
pub(crate) fn plan<'a>(ask: &Ask<'a>, is_ready: impl Fn(&DeclaredIndex) -> bool) -> Vec<Way<'a>> {
    let ready: Vec<_> = ask.indexes.iter().filter(|index| is_ready(index)).collect();
    let asked: Vec<Along<'a>> = ready.iter().filter_map(|index| along(ask.filter, index)).collect();
    let by_name = ask.order.is_some_and(Order::is_name_only);
    let mut points: Vec<_> = asked.iter().filter(|along| is_few_points(along)).collect();
    points.sort_by_key(|along| along.bounds.ranges().len());
    let points =
        points.into_iter().map(|along| Way::Points { along: along.clone(), is_in_order: by_name });
    let mut ways: Vec<Way<'a>> = points.collect();
    let pins = !ways.is_empty();
    let in_order = in_order(ask, &ready);
    let ordering =
        in_order.as_ref().and_then(Way::along).map(|along| along.index.name().to_owned());
    ways.extend(in_order);
    if !pins {
        let ranges = asked.iter().filter(|along| {
            // In order is never worse than gathered.
            ordering.as_deref() != Some(along.index.name())
                && !is_few_points(along)
                && along.bounds.ranges().len() <= RANGES_MAX
                && (ask.order.is_some() || along.index.is_single())
        });
        ways.extend(ranges.map(|along| Way::Ranges { along: along.clone(), is_in_order: false }));
    }
    // Names are the way that is always there; points never lead to more rows than they do.
    ways.truncate(if pins { WAYS_MAX } else { WAYS_MAX - 1 });
    let is_whole = ask.scope.is_all() && ask.filter.is_everything();
    let has_order = ways.iter().any(Way::is_in_order);
    // In order through the whole of a collection, no other way can be shorter.
    let is_settled = pins || (is_whole && has_order);
    if !is_settled {
        let is_in_order = ask.order.is_none_or(Order::is_name_only);
        ways.push(Way::Names { is_in_order });
    }
    ways
}

fn along<'a>(filter: &Filter, index: &'a DeclaredIndex) -> Option<Along<'a>> {
    let narrowed = filter.narrow(index)?;
    Some(Along { index, bounds: narrowed.bounds, conditions: narrowed.conditions })
}

fn is_few_points(along: &Along<'_>) -> bool {
    along.bounds.are_points() && along.bounds.ranges().len() <= POINTS_MAX
}

/// The way along an index that has the order of the list, within the ranges that the filter leaves of it.
fn in_order<'a>(ask: &Ask<'a>, ready: &[&'a DeclaredIndex]) -> Option<Way<'a>> {
    let (path, _) = ask.order?.single_field()?;
    let index = *ready.iter().find(|index| index.orders(path))?;
    let whole = index.ordered_bounds();
    let narrowed = along(ask.filter, index).filter(|_| index.is_single());
    let along = match narrowed {
        Some(along) if along.bounds.ranges().len() <= RANGES_MAX => {
            Along { bounds: along.bounds.and(&whole), ..along }
        }
        _ => Along { index, bounds: whole, conditions: String::new() },
    };
    Some(Way::Ranges { along, is_in_order: true })
}

impl fmt::Display for Way<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Names { .. } => f.write_str("names")?,
            Self::Points { along, .. } => write!(f, "points of {along}")?,
            Self::Ranges { along, .. } => write!(f, "ranges of {along}")?,
        }
        f.write_str(if self.is_in_order() { ", in order" } else { ", gathered" })
    }
}

impl fmt::Display for Along<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.index.path())?;
        match self.conditions.as_str() {
            "" => Ok(()),
            conditions => write!(f, " ({conditions})"),
        }
    }
}

#[cfg(test)]
mod tests;
