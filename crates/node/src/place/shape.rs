//! One pattern, and where in its names holder and region are.

use std::sync::Arc;

use bowline_resource::name::WILDCARD;
use bowline_schema::model::ResourceType;
use bowline_schema::pattern::{Pattern, PatternSegment};

use super::{Holder, Holders, Part, Parts, Place, Scope, Spot};

#[derive(Clone, Debug)]
pub(super) struct Shaped {
    pattern: Pattern,
    /// The holder's kind, and how many of the first segments are its name.
    holder: Option<(Arc<str>, usize)>,
    /// Which segment is the region.
    region: Option<usize>,
    /// Every segment of the pattern is one segment of a name, and takes any text.
    is_plain: bool,
}

impl Shaped {
    /// `region` is the literal before the region, for types that have regions.
    pub(super) fn of(
        pattern: &Pattern,
        holders: &[(Arc<str>, Arc<ResourceType>)],
        region: Option<&str>,
    ) -> Self {
        let above = pattern.parent().map_or(0, |parent| parent.segments.len());
        let holder = (1..=above).rev().find_map(|len| {
            let kind = holder_at(&pattern.segments[..len], holders)?;
            Some((kind.clone(), len))
        });
        // A resource that *is* a region (its own id is the variable) lies in none.
        let region =
            region.and_then(|collection| region_at(&pattern.segments[..above], collection));
        let is_plain = pattern.segments.iter().all(|segment| {
            matches!(
                segment,
                PatternSegment::Literal(_) | PatternSegment::Variable { multi: false, .. }
            )
        });
        Self { pattern: pattern.clone(), holder, region, is_plain }
    }

    pub(super) fn holder_kind(&self) -> Option<&Arc<str>> {
        self.holder.as_ref().map(|(kind, _)| kind)
    }

    /// Where holder and region are in `name`, if it has this pattern.
    pub(super) fn spot<'n>(&self, name: &'n str) -> Option<Spot<'_, 'n>> {
        if self.is_plain { self.plain_spot(name) } else { self.odd_spot(name) }
    }

    fn plain_spot<'n>(&self, name: &'n str) -> Option<Spot<'_, 'n>> {
        let mut spot = Spot { holder: None, region: None };
        let mut at = 0;
        for (index, segment) in self.pattern.segments.iter().enumerate() {
            let rest = name.get(at..)?;
            let part = rest.split('/').next().filter(|part| !part.is_empty())?;
            if matches!(segment, PatternSegment::Literal(text) if text != part) {
                return None;
            }
            if self.region == Some(index) {
                spot.region = Some(part);
            }
            at += part.len();
            if let Some((kind, _)) = self.holder.as_ref().filter(|(_, len)| *len == index + 1) {
                spot.holder = Some((kind, &name[..at]));
            }
            // Beyond the last segment this is beyond the name, if the name is as long as the pattern.
            at += 1;
        }
        (at == name.len() + 1).then_some(spot)
    }

    fn odd_spot<'n>(&self, name: &'n str) -> Option<Spot<'_, 'n>> {
        let values = self.pattern.match_name(name)?;
        let end_of = |variable: &str| {
            let (_, value) = values.iter().find(|(name, _)| *name == variable)?;
            let start = (value.as_ptr() as usize).checked_sub(name.as_ptr() as usize)?;
            Some(start + value.len())
        };
        let segments = &self.pattern.segments;
        let region = self.region.and_then(|at| match &segments[at] {
            PatternSegment::Variable { name: variable, .. } => {
                values.iter().find(|(name, _)| name == variable).map(|(_, value)| *value)
            }
            _ => None,
        });
        let holder = match &self.holder {
            None => None,
            Some((kind, len)) => Some((kind, &name[..prefix_end(&segments[..*len], end_of)?])),
        };
        Some(Spot { holder, region })
    }

    /// What is below `parent`, if names of this pattern can be.
    pub(super) fn scope(&self, parent: &[&str]) -> Option<Scope> {
        if !self.is_plain {
            return self.odd_scope(parent);
        }
        let segments = &self.pattern.segments;
        if parent.len() >= segments.len() || !fits(segments, parent) {
            return None;
        }
        let holders = match &self.holder {
            None => Holders::None,
            Some((kind, len)) => match parent.get(..*len) {
                Some(parts) if !parts.contains(&WILDCARD) => {
                    Holders::One(Holder { kind: kind.clone(), name: parts.join("/").into() })
                }
                _ => Holders::Any,
            },
        };
        let parts = match self.region.map(|at| parent.get(at).copied()) {
            None => Parts::One(Part::Control),
            Some(Some(region)) if region != WILDCARD => Parts::One(Part::Region(region.into())),
            Some(_) => Parts::All,
        };
        Some(Scope { holders, parts })
    }

    /// Patterns in which a parent does not say where its segments belong: everything that may be below is.
    fn odd_scope(&self, parent: &[&str]) -> Option<Scope> {
        let plain = |segment: &&PatternSegment| {
            matches!(
                segment,
                PatternSegment::Literal(_) | PatternSegment::Variable { multi: false, .. }
            )
        };
        let head: Vec<_> = self.pattern.segments.iter().take_while(plain).cloned().collect();
        let known = &parent[..parent.len().min(head.len())];
        if !fits(&head, known) {
            return None;
        }
        let within_head = |len: usize| len <= known.len();
        let holders = match &self.holder {
            None => Holders::None,
            Some((kind, len)) if within_head(*len) && !known[..*len].contains(&WILDCARD) => {
                Holders::One(Holder { kind: kind.clone(), name: known[..*len].join("/").into() })
            }
            Some(_) => Holders::Any,
        };
        let parts = match self.region {
            None => Parts::One(Part::Control),
            Some(at) if within_head(at + 1) && known[at] != WILDCARD => {
                Parts::One(Part::Region(known[at].into()))
            }
            Some(_) => Parts::All,
        };
        Some(Scope { holders, parts })
    }

    /// What names at `place` start with, if they can have this pattern.
    pub(super) fn prefix_at(&self, place: &Place) -> Option<String> {
        let region = match (&place.part, self.region) {
            (Part::Control, None) => None,
            (Part::Region(region), Some(at)) => Some((at, region)),
            _ => return None,
        };
        let (mut prefix, from) = match (&place.holder, &self.holder) {
            (None, None) => (String::new(), 0),
            (Some(holder), Some((kind, len))) if holder.kind == *kind => {
                (format!("{}/", holder.name), *len)
            }
            _ => return None,
        };
        for (index, segment) in self.pattern.segments.iter().enumerate().skip(from) {
            let is_last = index + 1 == self.pattern.segments.len();
            match (segment, region) {
                (PatternSegment::Literal(text), _) => prefix.push_str(text),
                (_, Some((at, region))) if at == index => prefix.push_str(region),
                _ => break,
            }
            if !is_last {
                prefix.push('/');
            }
        }
        Some(prefix)
    }
}

/// The kind of the holder whose names have exactly these segments.
fn holder_at<'h>(
    segments: &[PatternSegment],
    holders: &'h [(Arc<str>, Arc<ResourceType>)],
) -> Option<&'h Arc<str>> {
    let shape = Pattern::from_segments(segments.to_vec()).shape();
    let is_it = |ty: &ResourceType| ty.patterns.iter().any(|pattern| pattern.shape() == shape);
    holders.iter().find(|(_, ty)| is_it(ty)).map(|(kind, _)| kind)
}

fn region_at(segments: &[PatternSegment], collection: &str) -> Option<usize> {
    let at = segments.windows(2).position(|pair| {
        matches!(pair, [PatternSegment::Literal(text), PatternSegment::Variable { .. }] if text == collection)
    });
    at.map(|at| at + 1)
}

/// Where the text of these first segments ends; `end_of` tells it for a variable.
fn prefix_end(
    segments: &[PatternSegment],
    end_of: impl Fn(&str) -> Option<usize>,
) -> Option<usize> {
    let mut end: Option<usize> = None;
    for segment in segments {
        let after_slash = end.map_or(0, |end| end + 1);
        end = Some(match segment {
            PatternSegment::Literal(text) => after_slash + text.len(),
            PatternSegment::Variable { name, .. } => end_of(name)?,
            PatternSegment::Complex { variables, .. } => end_of(variables.last()?)?,
            PatternSegment::Wildcard => return None,
        });
    }
    end
}

/// Whether the parts can be the first ones of a name with these segments.
fn fits(segments: &[PatternSegment], parts: &[&str]) -> bool {
    segments.iter().zip(parts).all(|(segment, part)| match segment {
        PatternSegment::Literal(text) => text == part,
        _ => true,
    })
}
