//! Which fields of a type are worth a column, and what a cell shows.
//!
//! Decided from descriptors alone: a name, then what tells resources apart (display name, state, small scalars), then
//! the age. Nothing that may be secret is ever chosen.

use bowline_schema::model::{MetadataPlace, ResourceType};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, ReflectMessage, Value};

use super::fields;
use super::json::is_well_known;

/// Fields beside name and age.
const TABLE_FIELDS: usize = 4;
const WIDE_FIELDS: usize = 10;
/// Longest cell of a table; `wide` shows everything.
const CELL_CHARS_MAX: usize = 48;
/// Words in field names whose values are not shown unasked.
const SECRET_WORDS: [&str; 7] =
    ["secret", "password", "token", "private", "payload", "credential", "key_data"];
/// Words in field names whose values are long prose.
const PROSE_WORDS: [&str; 4] = ["description", "comment", "note", "message"];

/// The columns of a type.
#[derive(Debug)]
pub(crate) struct Columns {
    name: FieldDescriptor,
    fields: Vec<Column>,
    age: Option<Vec<FieldDescriptor>>,
    /// When deletion was asked for.
    deleted: Option<Vec<FieldDescriptor>>,
    wide: bool,
}

#[derive(Debug)]
struct Column {
    title: String,
    path: Vec<FieldDescriptor>,
}

/// A field that could be a column; a lower rank is better.
struct Candidate {
    rank: u32,
    path: Vec<FieldDescriptor>,
}

impl Columns {
    pub(crate) fn of(ty: &ResourceType, wide: bool) -> Self {
        let mut candidates = Vec::new();
        for field in ty.message.fields() {
            consider(ty, vec![field], &mut candidates);
        }
        // Stable: fields of one rank stay in declared order.
        candidates.sort_by_key(|candidate| candidate.rank);
        candidates.truncate(if wide { WIDE_FIELDS } else { TABLE_FIELDS });
        if !wide {
            candidates.retain(|candidate| candidate.rank < RANK_PROSE);
        }
        let fields = titled(candidates.into_iter().map(|candidate| candidate.path).collect());
        Self::with(ty, fields, wide)
    }

    /// The columns that were asked for, by their paths (`spec.model`).
    ///
    /// # Errors
    /// What is wrong with a path.
    pub(crate) fn chosen(ty: &ResourceType, paths: &[String], wide: bool) -> Result<Self, String> {
        let paths: Result<Vec<_>, String> = paths.iter().map(|path| resolve(ty, path)).collect();
        Ok(Self::with(ty, titled(paths?), wide))
    }

    fn with(ty: &ResourceType, fields: Vec<Column>, wide: bool) -> Self {
        let standard = &ty.standard;
        let age = time(ty, "create_time", standard.create_time.as_ref());
        let deleted = time(ty, "delete_time", standard.delete_time.as_ref());
        Self { name: ty.name_field.clone(), fields, age, deleted, wide }
    }

    pub(crate) fn titles(&self) -> Vec<String> {
        let mut titles = vec!["NAME".to_owned()];
        titles.extend(self.fields.iter().map(|column| column.title.clone()));
        titles.extend(self.age.iter().map(|_| "AGE".to_owned()));
        titles
    }

    /// The cells of a resource; `now` is what its age is counted to. One that is being deleted says so beside its age.
    pub(crate) fn row(&self, resource: &DynamicMessage, now: jiff::Timestamp) -> Vec<String> {
        let mut cells =
            vec![resource.get_field(&self.name).as_str().unwrap_or_default().to_owned()];
        cells.extend(self.fields.iter().map(|column| {
            let text =
                lookup(resource, &column.path).map(|v| cell(&column.path, &v)).unwrap_or_default();
            if self.wide { text } else { shorten(&text) }
        }));
        cells.extend(self.age.iter().map(|path| {
            let created = lookup(resource, path).and_then(|value| timestamp(&value));
            let age = created.map(|created| age(created, now)).unwrap_or_default();
            let is_deleting = self.deleted.iter().any(|path| lookup(resource, path).is_some());
            if is_deleting { format!("{age}, deleting") } else { age }
        }));
        cells
    }
}

/// The fields on the way of a path, which leads through messages to something that fits a cell.
fn resolve(ty: &ResourceType, path: &str) -> Result<Vec<FieldDescriptor>, String> {
    let mut found: Vec<FieldDescriptor> = Vec::new();
    for name in path.split('.') {
        let message = match found.last().map(|last| (last.kind(), last.is_list() || last.is_map()))
        {
            None => ty.message.clone(),
            Some((Kind::Message(inner), false)) => inner,
            Some(_) => return Err(format!("{path}: {} has no fields", dotted(&found))),
        };
        found.push(fields::find(&message, name).map_err(|problem| format!("{path}: {problem}"))?);
    }
    match found.last() {
        Some(last) if last.is_map() || matches!(last.kind(), Kind::Message(_) | Kind::Bytes) => {
            Err(format!("{path} does not fit a column; give a field in it, or use -o json"))
        }
        _ => Ok(found),
    }
}

const RANK_PROSE: u32 = 100;

fn consider(ty: &ResourceType, path: Vec<FieldDescriptor>, candidates: &mut Vec<Candidate>) {
    let Some(field) = path.last() else { return };
    if field.is_list() || field.is_map() || is_bookkeeping(ty, &path) {
        return;
    }
    match field.kind() {
        Kind::Bytes => {}
        Kind::Message(inner) if is_well_known(&inner) => {}
        Kind::Message(inner) if path.len() == 1 => {
            for field in inner.fields() {
                consider(ty, vec![path[0].clone(), field], candidates);
            }
        }
        Kind::Message(_) => {}
        _ if is_secret(ty, &path) => {}
        _ => candidates.push(Candidate { rank: rank(&path), path }),
    }
}

/// Name, metadata, and the standard fields that repeat it.
fn is_bookkeeping(ty: &ResourceType, path: &[FieldDescriptor]) -> bool {
    let [field] = path else { return false };
    let standard = &ty.standard;
    let others = [
        &standard.uid,
        &standard.etag,
        &standard.create_time,
        &standard.update_time,
        &standard.delete_time,
    ];
    *field == ty.name_field
        || matches!(&ty.metadata, MetadataPlace::Inside(metadata) if metadata == field)
        || others.into_iter().any(|other| other.as_ref() == Some(field))
}

fn is_secret(ty: &ResourceType, path: &[FieldDescriptor]) -> bool {
    let dotted = dotted(path);
    let is_reference = ty.references.iter().any(|reference| reference.path == dotted);
    let says_secret =
        path.iter().any(|field| SECRET_WORDS.iter().any(|word| field.name().contains(word)));
    ty.fields.input_only.contains(&dotted) || (says_secret && !is_reference)
}

/// What tells resources apart comes first: display name, state, then what was asked for, then what is reported.
fn rank(path: &[FieldDescriptor]) -> u32 {
    let Some(field) = path.last() else { return RANK_PROSE };
    let name = field.name();
    if PROSE_WORDS.iter().any(|word| name.contains(word)) {
        return RANK_PROSE;
    }
    let own = match field.kind() {
        _ if matches!(name, "display_name" | "title") => 0,
        Kind::Enum(_) if matches!(name, "state" | "phase" | "status") => 1,
        Kind::Enum(_) => 10,
        Kind::String => 20,
        Kind::Bool => 22,
        _ => 23,
    };
    let nested = match path {
        [_] => 0,
        [parent, ..] if parent.name() == "spec" => 2,
        [parent, ..] if parent.name() == "status" => 5,
        _ => 40,
    };
    own + nested
}

fn dotted(path: &[FieldDescriptor]) -> String {
    path.iter().map(FieldDescriptor::name).collect::<Vec<_>>().join(".")
}

/// Titles are last names, or whole paths where two would be the same.
fn titled(paths: Vec<Vec<FieldDescriptor>>) -> Vec<Column> {
    let last = |path: &[FieldDescriptor]| path.last().map(|field| field.name().to_uppercase());
    let titles: Vec<_> = paths.iter().map(|path| last(path).unwrap_or_default()).collect();
    let is_repeated = |title: &String| {
        matches!(title.as_str(), "NAME" | "AGE")
            || titles.iter().filter(|other| *other == title).count() > 1
    };
    let columns = paths.into_iter().zip(&titles).map(|(path, title)| {
        let title = if is_repeated(title) { dotted(&path).to_uppercase() } else { title.clone() };
        Column { title, path }
    });
    columns.collect()
}

/// A time in the metadata of the type, or in the standard field that repeats it.
fn time(
    ty: &ResourceType,
    name: &str,
    standard: Option<&FieldDescriptor>,
) -> Option<Vec<FieldDescriptor>> {
    if let MetadataPlace::Inside(metadata) = &ty.metadata
        && let Kind::Message(meta) = metadata.kind()
        && let Some(field) = meta.get_field_by_name(name)
    {
        return Some(vec![metadata.clone(), field]);
    }
    standard.map(|field| vec![field.clone()])
}

fn lookup(resource: &DynamicMessage, path: &[FieldDescriptor]) -> Option<Value> {
    let (last, parents) = path.split_last()?;
    let mut current = resource.clone();
    for parent in parents {
        if !current.has_field(parent) {
            return None;
        }
        let Value::Message(inner) = current.get_field(parent).into_owned() else { return None };
        current = inner;
    }
    let is_absent = last.supports_presence() && !current.has_field(last);
    (!is_absent).then(|| current.get_field(last).into_owned())
}

fn cell(path: &[FieldDescriptor], value: &Value) -> String {
    match value {
        Value::Bool(v) => v.to_string(),
        Value::I32(v) => v.to_string(),
        Value::I64(v) => v.to_string(),
        Value::U32(v) => v.to_string(),
        Value::U64(v) => v.to_string(),
        Value::F32(v) => v.to_string(),
        Value::F64(v) => v.to_string(),
        Value::String(v) => one_line(v),
        // The zero of an enum says that nothing is said.
        Value::EnumNumber(0) => String::new(),
        Value::EnumNumber(number) => match path.last().map(FieldDescriptor::kind) {
            Some(Kind::Enum(kind)) => kind
                .get_value(*number)
                .map_or_else(|| number.to_string(), |value| value.name().to_owned()),
            _ => number.to_string(),
        },
        Value::List(items) => {
            items.iter().map(|item| cell(path, item)).collect::<Vec<_>>().join(",")
        }
        _ => String::new(),
    }
}

/// A cell is one line, and obeys no escapes.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= CELL_CHARS_MAX {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(CELL_CHARS_MAX - 1).collect();
    short.push('…');
    short
}

fn timestamp(value: &Value) -> Option<jiff::Timestamp> {
    let message = value.as_message()?;
    if message.descriptor().full_name() != "google.protobuf.Timestamp" {
        return None;
    }
    let seconds = message.get_field_by_name("seconds")?.as_i64()?;
    let nanos = message.get_field_by_name("nanos")?.as_i32()?;
    jiff::Timestamp::new(seconds, nanos).ok()
}

/// `5s`, `12m`, `3h`, `4d`, `2y`: the largest unit that is not zero.
pub(crate) fn age(created: jiff::Timestamp, now: jiff::Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(created.as_second()).max(0);
    match seconds {
        s if s < 120 => format!("{s}s"),
        s if s < 2 * 3600 => format!("{}m", s / 60),
        s if s < 48 * 3600 => format!("{}h", s / 3600),
        s if s < 730 * 86_400 => format!("{}d", s / 86_400),
        s => format!("{}y", s / (365 * 86_400)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::json;
    use super::super::testing::device_type;
    use super::*;

    fn device() -> DynamicMessage {
        let value = serde_json::json!({
            "name": "projects/p/devices/d",
            "displayName": "Door\n7",
            "metadata": {"createTime": "2026-01-01T00:00:00Z"},
            "spec": {"model": "m".repeat(60), "port": 80, "password": "hunter2"},
            "status": {"phase": "PHASE_READY"},
        });
        json::from_value(&device_type().message, value).unwrap()
    }

    #[test]
    fn the_table_has_what_tells_resources_apart() {
        let columns = Columns::of(&device_type(), false);
        assert_eq!(columns.titles(), ["NAME", "DISPLAY_NAME", "PHASE", "MODEL", "SECRET", "AGE"]);
        let row = columns.row(&device(), "2026-01-01T03:00:00Z".parse().unwrap());
        assert_eq!(row[1], "Door 7");
        assert_eq!(row[2], "PHASE_READY");
        assert_eq!(row[3].chars().count(), CELL_CHARS_MAX);
        assert_eq!(row[5], "3h");

        let mut marked = device();
        let metadata = marked.get_field_by_name_mut("metadata").unwrap();
        let time = serde_json::json!({"createTime": "2026-01-01T00:00:00Z", "deleteTime": "2026-01-01T01:00:00Z"});
        let descriptor = metadata.as_message_mut().unwrap().descriptor();
        *metadata = Value::Message(json::from_value(&descriptor, time).unwrap());
        let row = columns.row(&marked, "2026-01-01T03:00:00Z".parse().unwrap());
        assert_eq!(row[5], "3h, deleting");
    }

    #[test]
    fn wide_shortens_nothing_and_still_shows_no_password() {
        let columns = Columns::of(&device_type(), true);
        assert!(columns.titles().contains(&"DESCRIPTION".to_owned()), "{:?}", columns.titles());
        let row = columns.row(&device(), jiff::Timestamp::UNIX_EPOCH);
        assert!(row.contains(&"m".repeat(60)));
        assert!(!row.iter().any(|cell| cell.contains("hunter2")));
    }

    #[test]
    fn columns_can_be_chosen_by_path() {
        let chosen = |paths: &[&str]| {
            let paths: Vec<_> = paths.iter().map(|path| (*path).to_owned()).collect();
            Columns::chosen(&device_type(), &paths, false)
        };
        let columns = chosen(&["spec.port", "status.phase", "displayName"]).unwrap();
        assert_eq!(columns.titles(), ["NAME", "PORT", "PHASE", "DISPLAY_NAME", "AGE"]);
        let row = columns.row(&device(), jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(row[1..4], ["80", "PHASE_READY", "Door 7"]);
        let refused = |path| chosen(&[path]).unwrap_err();
        assert_eq!(
            refused("spec"),
            "spec does not fit a column; give a field in it, or use -o json"
        );
        assert_eq!(refused("spec.model.x"), "spec.model.x: spec.model has no fields");
        assert!(refused("spec.modle").contains("model"), "{}", refused("spec.modle"));
        assert!(chosen(&["metadata.labels"]).is_err());
    }

    #[test]
    fn ages_have_one_unit() {
        let at = |seconds| {
            age(jiff::Timestamp::UNIX_EPOCH, jiff::Timestamp::from_second(seconds).unwrap())
        };
        assert_eq!(
            [at(-5), at(59), at(300), at(7200), at(200_000), at(900 * 86_400)],
            ["0s", "59s", "5m", "2h", "2d", "2y"]
        );
    }
}
