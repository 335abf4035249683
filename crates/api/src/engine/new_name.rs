//! The name of a resource that is being created: given whole, put together from parent and id, or generated.

use bowline_base::{Reason, Seams, Status};
use bowline_resource::document::name_of;
use bowline_resource::name;
use bowline_schema::model::ResourceType;

use super::Route;
use super::request::{Request, field_name};

/// How the name is found.
pub(crate) enum NewName {
    Given(String),
    /// An id is made from the display name, a new one at each attempt.
    Generated {
        parent: String,
        display_name: String,
    },
}

impl NewName {
    /// Reads the request: an id field goes first, then a name in the resource, otherwise one is generated.
    pub(crate) fn of(route: &Route, request: &Request<'_>) -> Result<Self, Status> {
        let ty = &route.resource.ty;
        let parent = request.text(&request.fields.parent);
        let id = request.text(&request.fields.resource_id);
        let (given, display_name) = request.with_resource(|resource| {
            let field = ty.standard.display_name.as_ref();
            let title = field.map(|field| resource.get_field(field).into_owned());
            let title = title.and_then(|value| value.as_str().map(str::to_owned));
            (name_of(ty, resource).to_owned(), title.unwrap_or_default())
        })?;
        let given = given.as_str();
        if !id.is_empty() {
            return Self::of_id(ty, request, &parent, &id, given);
        }
        if !given.is_empty() {
            return Self::of_name(ty, request, &parent, given);
        }
        if !name::has_id(ty, &parent) {
            // A singleton has one possible name.
            let built = name::build(ty, &parent, "");
            return built.map(Self::Given).map_err(|error| bad_parent(request, &error));
        }
        // Whether the parent fits is said before anything is generated.
        name::build(ty, &parent, "a").map_err(|error| bad_parent(request, &error))?;
        Ok(Self::Generated { parent, display_name })
    }

    /// A name that is known to be well formed.
    pub(crate) fn given(name: String) -> Self {
        Self::Given(name)
    }

    pub(crate) fn is_generated(&self) -> bool {
        matches!(self, Self::Generated { .. })
    }

    /// The name to try next.
    pub(crate) fn make(&self, ty: &ResourceType, seams: &Seams) -> Result<String, Status> {
        match self {
            Self::Given(name) => Ok(name.clone()),
            Self::Generated { parent, display_name } => {
                let mut random = |bytes: &mut [u8]| seams.random.fill(bytes);
                let id = name::generate_id(display_name, &mut random);
                name::build(ty, parent, &id).map_err(|error| {
                    Status::bad_field(Reason::InvalidParent, "parent", error.to_string())
                })
            }
        }
    }

    fn of_id(
        ty: &ResourceType,
        request: &Request<'_>,
        parent: &str,
        id: &str,
        given: &str,
    ) -> Result<Self, Status> {
        let field = field_name(&request.fields.resource_id, "id");
        let bad_id = |error: name::NameError| {
            Status::bad_field(Reason::InvalidName, &field, error.to_string())
        };
        // The parent is checked with an id that cannot be wrong, so that errors name the right field.
        name::check_new_id(ty, id).map_err(bad_id)?;
        let built = name::build(ty, parent, id).map_err(|error| bad_parent(request, &error))?;
        if !given.is_empty() && name::parse(ty, given).map(|n| n.text).as_ref() != Ok(&built) {
            let why =
                format!("\"{given}\" is not the name that parent and {field} make: \"{built}\"");
            return Err(Status::bad_field(Reason::InvalidName, name_path(request), why));
        }
        Ok(Self::Given(built))
    }

    fn of_name(
        ty: &ResourceType,
        request: &Request<'_>,
        parent: &str,
        given: &str,
    ) -> Result<Self, Status> {
        let bad = |why: String| Status::bad_field(Reason::InvalidName, name_path(request), why);
        let parsed = name::parse(ty, given).map_err(|error| bad(error.to_string()))?;
        let (_, parent) = name::split_domain(parent);
        if !parent.is_empty() && parsed.parent != parent {
            return Err(bad(format!("\"{given}\" is not under the parent \"{parent}\"")));
        }
        let id = parsed.text.rsplit('/').next().unwrap_or_default();
        if name::has_id(ty, &parsed.parent) {
            name::check_new_id(ty, id).map_err(|error| bad(error.to_string()))?;
        }
        Ok(Self::Given(parsed.text))
    }
}

fn bad_parent(request: &Request<'_>, error: &name::NameError) -> Status {
    let field = field_name(&request.fields.parent, "parent");
    Status::bad_field(Reason::InvalidParent, field, error.to_string())
}

fn name_path(request: &Request<'_>) -> String {
    request
        .fields
        .resource
        .as_ref()
        .map_or_else(|| "name".to_owned(), |f| format!("{}.name", f.name()))
}
