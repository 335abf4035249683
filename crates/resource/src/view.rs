//! Views: named masks of a type (`BASIC`, `FULL`), as requests ask for them by an enum.

use bowline_schema::model::ResourceType;

use crate::mask::{Mask, MaskError};

/// How much of a resource a request wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum View {
    /// What the field mask says; everything if it says nothing.
    Unspecified,
    /// The name, and what a person calls the resource.
    Name,
    Basic,
    Detail,
    /// Everything, whatever the field mask says.
    Full,
}

impl View {
    /// The view that a value of a view enum stands for: `BASIC`, or with a prefix as `SECRET_VIEW_BASIC`.
    ///
    /// Values that mean nothing to us count as unspecified.
    pub fn of_enum_value(name: &str) -> Self {
        let is = |view: &str| {
            name.strip_suffix(view).is_some_and(|rest| rest.is_empty() || rest.ends_with('_'))
        };
        let known = [
            ("NAME", Self::Name),
            ("BASIC", Self::Basic),
            ("DETAIL", Self::Detail),
            ("FULL", Self::Full),
        ];
        known.into_iter().find(|(view, _)| is(view)).map_or(Self::Unspecified, |(_, view)| view)
    }

    /// The view's name in [`ResourceType::views`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "UNSPECIFIED",
            Self::Name => "NAME",
            Self::Basic => "BASIC",
            Self::Detail => "DETAIL",
            Self::Full => "FULL",
        }
    }
}

/// What to show for a view and a field mask together; `None` is everything.
///
/// A view that the type does not declare counts as unspecified, `NAME` excepted, which every type has.
///
/// # Errors
/// If the type declares a view with a path that it does not have.
pub fn effective(ty: &ResourceType, view: View, mask: &Mask) -> Result<Option<Mask>, MaskError> {
    let declared = ty.views.get(view.name());
    let mut shown = match (view, declared) {
        (View::Full, _) => return Ok(None),
        (View::Unspecified, _) => Mask::empty(&ty.message),
        (_, Some(paths)) => Mask::parse(paths, ty)?,
        (View::Name, None) => name_view(ty),
        (View::Basic | View::Detail, None) => Mask::empty(&ty.message),
    };
    if !shown.is_empty() {
        shown.add_field(&ty.name_field);
    }
    shown.add(mask);
    Ok((!shown.is_empty() && !shown.is_everything()).then_some(shown))
}

fn name_view(ty: &ResourceType) -> Mask {
    let people = ["display_name", "title"].map(|name| ty.message.get_field_by_name(name));
    let people: Vec<_> = people.into_iter().flatten().collect();
    Mask::of_fields(&ty.message, people.iter().chain([&ty.name_field]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::device_type_with;

    fn shown(view: View, paths: &[&str]) -> String {
        let basic = ["display_name", "spec.model"].map(str::to_owned).into();
        let ty = device_type_with(|ty| ty.views = [("BASIC".to_owned(), basic)].into());
        let mask = Mask::parse(paths, &ty).unwrap();
        effective(&ty, view, &mask)
            .unwrap()
            .map_or_else(|| "everything".to_owned(), |mask| mask.to_string())
    }

    #[test]
    fn views_and_masks_add_up() {
        assert_eq!(shown(View::Unspecified, &[]), "everything");
        assert_eq!(shown(View::Unspecified, &["tags"]), "tags");
        assert_eq!(shown(View::Name, &["tags"]), "name,display_name,tags");
        assert_eq!(shown(View::Basic, &[]), "name,display_name,spec.model");
        assert_eq!(shown(View::Basic, &["spec"]), "name,display_name,spec");
        assert_eq!(shown(View::Detail, &[]), "everything");
        assert_eq!(shown(View::Full, &["tags"]), "everything");
        assert_eq!(shown(View::Basic, &["*"]), "everything");
    }

    #[test]
    fn view_enums_are_recognised_with_and_without_prefix() {
        assert_eq!(View::of_enum_value("BASIC"), View::Basic);
        assert_eq!(View::of_enum_value("SECRET_VIEW_FULL"), View::Full);
        assert_eq!(View::of_enum_value("VIEW_UNSPECIFIED"), View::Unspecified);
        assert_eq!(View::of_enum_value("HOSTNAME"), View::Unspecified);
    }
}
