//! Where in the order of names the next one can be that a scope covers: for skipping what lies between.
//!
//! With wildcards in the middle of a parent (`projects/-/regions/us`) most names below the prefix are of no interest.
//! Names are ordered by their bytes, `/` included, and so are the bounds here.

use super::scope::{Part, Scope, prefix_end};

/// What is known of the names from some name on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seek {
    /// Nothing better than to look at the next name.
    Near,
    /// Upwards: the scope has nothing before this text. Downwards: nothing at or after it.
    To(String),
    /// The scope has no further name in this direction.
    End,
}

impl Scope {
    /// Where names of the scope can be after `name`, which is not in it; `descending`: before it.
    ///
    /// Cost: linear in the name and the alternatives of the scope.
    pub fn seek(&self, name: &str, descending: bool) -> Seek {
        let Some(alternatives) = self.alternatives() else { return Seek::Near };
        let parts: Vec<&str> = name.split('/').collect();
        let each = alternatives.iter().map(|alternative| match descending {
            true => down(alternative, &parts, name),
            false => up(alternative, &parts, name),
        });
        let nearer = |a: Seek, b: Seek| match (a, b) {
            (Seek::Near, _) | (_, Seek::Near) => Seek::Near,
            (Seek::End, other) | (other, Seek::End) => other,
            (Seek::To(a), Seek::To(b)) => Seek::To(if descending { a.max(b) } else { a.min(b) }),
        };
        each.reduce(nearer).unwrap_or(Seek::End)
    }
}

/// How far `parts` go along with an alternative.
struct Fit {
    /// What all names of the alternative begin with that have the same ids as `parts`, as far as those fit.
    group: String,
    /// The groups of the ids before, each with its slash: `projects/p/`.
    ids: Vec<String>,
}

/// `None` if the segments fit, or if that cannot be told.
fn fit(alternative: &[Part], parts: &[&str]) -> Option<Fit> {
    let mut fit = Fit { group: String::new(), ids: Vec::new() };
    for (at, part) in alternative.iter().enumerate() {
        let slash = if at + 1 < alternative.len() { "/" } else { "" };
        match (part, parts.get(at)) {
            (Part::Several, _) => return None,
            (Part::Text(text), found) => {
                fit.group.push_str(text);
                fit.group.push_str(slash);
                if found != Some(&text.as_str()) {
                    extend(&mut fit.group, &alternative[at + 1..]);
                    return Some(fit);
                }
            }
            (Part::One, None) => return Some(fit),
            (Part::One, Some(id)) => {
                fit.group.push_str(id);
                fit.ids.push(format!("{}/", fit.group));
                fit.group.push_str(slash);
            }
        }
    }
    // As many segments: it fits. More: all of the group is the one name that these begin with.
    (parts.len() > alternative.len()).then_some(fit)
}

/// Goes on with the fixed segments that come next.
fn extend(group: &mut String, rest: &[Part]) {
    for (at, part) in rest.iter().enumerate() {
        let Part::Text(text) = part else { return };
        group.push_str(text);
        if at + 1 < rest.len() {
            group.push('/');
        }
    }
}

fn up(alternative: &[Part], parts: &[&str], name: &str) -> Seek {
    let Some(fit) = fit(alternative, parts) else { return Seek::Near };
    if *fit.group > *name {
        return Seek::To(fit.group);
    }
    if name.starts_with(&fit.group) && fit.group.ends_with('/') {
        return Seek::Near;
    }
    // All of the group is behind; the next one has a greater id.
    match fit.ids.last().map(|id| prefix_end(id)) {
        Some(Some(end)) if *end > *name => Seek::To(end),
        Some(_) => Seek::Near,
        None => Seek::End,
    }
}

fn down(alternative: &[Part], parts: &[&str], name: &str) -> Seek {
    let Some(fit) = fit(alternative, parts) else { return Seek::Near };
    if name.starts_with(&fit.group) && fit.group.ends_with('/') {
        return Seek::Near;
    }
    if *fit.group < *name {
        return match prefix_end(&fit.group) {
            Some(end) if *end < *name => Seek::To(end),
            _ => Seek::Near,
        };
    }
    // All of the group is ahead; the one before has a smaller id.
    match fit.ids.last() {
        Some(id) if **id < *name => Seek::To(id.clone()),
        Some(_) => Seek::Near,
        None => Seek::End,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixture::type_of;

    const PATTERNS: [&str; 3] = [
        "projects/{project}/networks/{network}",
        "projects/{project}/regions/{region}/networks/{network}",
        "networks/{network}",
    ];

    fn parent() -> impl Strategy<Value = String> {
        prop::sample::select(vec![
            "",
            "projects/-",
            "projects/a",
            "projects/-/regions/-",
            "projects/-/regions/b",
            "projects/a/regions/-",
            "projects/b-/regions/b",
        ])
        .prop_map(str::to_owned)
    }

    fn name() -> impl Strategy<Value = String> {
        // Ids with characters before and after the slash, and some that begin with others.
        let id = || prop::sample::select(vec!["a", "b", "b-", "b0", "a.b", "ab", "~"]);
        prop_oneof![
            (id(), id()).prop_map(|(p, n)| format!("projects/{p}/networks/{n}")),
            (id(), id(), id())
                .prop_map(|(p, r, n)| format!("projects/{p}/regions/{r}/networks/{n}")),
            id().prop_map(|n| format!("networks/{n}")),
        ]
    }

    proptest! {
        #[test]
        fn nothing_that_the_scope_covers_is_skipped(
            parent in parent(),
            from in name(),
            names in prop::collection::vec(name(), 0..20),
            descending: bool,
        ) {
            let ty = type_of(&PATTERNS);
            let scope = Scope::of_parent(&ty, &parent).unwrap();
            prop_assume!(!scope.contains(&from));
            let ahead = |name: &&String| if descending { **name < from } else { **name > from };
            let wanted = names.iter().filter(ahead).filter(|name| scope.contains(name));
            for name in wanted {
                match scope.seek(&from, descending) {
                    Seek::Near => {}
                    Seek::To(bound) if descending => prop_assert!(*name < bound, "{name} {bound}"),
                    Seek::To(bound) => prop_assert!(*name >= bound, "{name} {bound}"),
                    Seek::End => prop_assert!(false, "{name} is ahead of {from}"),
                }
            }
        }

        #[test]
        fn a_bound_is_always_ahead(parent in parent(), from in name(), descending: bool) {
            let ty = type_of(&PATTERNS);
            let scope = Scope::of_parent(&ty, &parent).unwrap();
            if let Seek::To(bound) = scope.seek(&from, descending) {
                prop_assert!(if descending { bound < from } else { bound > from }, "{bound}");
            }
        }
    }

    #[test]
    fn other_regions_are_skipped_as_a_whole() {
        let ty = type_of(&PATTERNS);
        let scope = Scope::of_parent(&ty, "projects/-/regions/us").unwrap();
        let seek = |name, descending| scope.seek(name, descending);
        let to = |text: &str| Seek::To(text.to_owned());
        assert_eq!(seek("projects/p/networks/n", false), to("projects/p/regions/us/networks/"));
        assert_eq!(
            seek("projects/p/regions/eu/networks/n", false),
            to("projects/p/regions/us/networks/")
        );
        assert_eq!(seek("projects/p/regions/zz/networks/n", false), to("projects/p0"));
        assert_eq!(
            seek("projects/p/regions/zz/networks/n", true),
            to("projects/p/regions/us/networks0")
        );
        assert_eq!(seek("projects/p/regions/eu/networks/n", true), to("projects/p/"));
        assert_eq!(seek("networks/n", false), to("projects/"));
        assert_eq!(seek("networks/n", true), Seek::End);
    }
}
