//! Printing resources: tables that stay aligned over many pages, JSON, YAML, names.

use std::io::Write;
use std::sync::Arc;

use bowline_schema::model::ResourceType;
use comfy_table::presets::NOTHING;
use comfy_table::{ColumnConstraint, Table, Width};
use prost_reflect::DynamicMessage;
use serde_json::Value;

use super::args::Format;
use super::columns::Columns;
use super::documents;
use super::error::Error;

/// Blanks between two columns.
const GAP: u16 = 2;

/// Rows of text under titles. Later rows keep the widths of earlier ones and widen them where they must.
pub(crate) struct TableWriter {
    titles: Option<Vec<String>>,
    widths: Vec<u16>,
}

impl TableWriter {
    pub(crate) fn new(titles: Vec<String>) -> Self {
        Self { titles: Some(titles), widths: Vec::new() }
    }

    /// The first column is at least this wide, for tables that are printed before all is known that will be in it.
    pub(crate) fn with_first_width(mut self, width: u16) -> Self {
        self.widths = vec![width];
        self
    }

    /// Writes `rows`, the first time under the titles.
    pub(crate) fn rows(
        &mut self,
        out: &mut dyn Write,
        rows: Vec<Vec<String>>,
    ) -> Result<(), Error> {
        let mut table = Table::new();
        table.load_style(NOTHING);
        if let Some(titles) = self.titles.take() {
            table.add_row(titles);
        }
        table.add_rows(rows);
        if table.row_count() == 0 {
            return Ok(());
        }
        self.widen(&table.column_max_content_widths());
        for (index, width) in self.widths.iter().enumerate() {
            if let Some(column) = table.column_mut(index) {
                column.set_padding((0, GAP));
                column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(
                    width.saturating_add(GAP),
                )));
            }
        }
        for line in table.lines() {
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    fn widen(&mut self, needed: &[u16]) {
        self.widths.resize(self.widths.len().max(needed.len()), 0);
        for (width, needed) in self.widths.iter_mut().zip(needed) {
            *width = (*width).max(*needed);
        }
    }
}

/// Prints resources of one type, page by page.
pub(crate) struct Printer<'a> {
    out: &'a mut dyn Write,
    ty: Arc<ResourceType>,
    format: Format,
    columns: Columns,
    table: TableWriter,
    now: jiff::Timestamp,
    printed: u64,
}

impl<'a> Printer<'a> {
    pub(crate) fn new(
        out: &'a mut dyn Write,
        ty: Arc<ResourceType>,
        format: Format,
        now: jiff::Timestamp,
    ) -> Self {
        let columns = Columns::of(&ty, format == Format::Wide);
        let table = TableWriter::new(columns.titles());
        Self { out, ty, format, columns, table, now, printed: 0 }
    }

    /// Shows these fields in tables, if there are any, instead of those that seem to matter.
    ///
    /// # Errors
    /// A path leads nowhere, or to what does not fit a column.
    pub(crate) fn with_columns(mut self, paths: &[String]) -> Result<Self, Error> {
        if !paths.is_empty() {
            let columns = Columns::chosen(&self.ty, paths, self.format == Format::Wide);
            self.columns = columns
                .map_err(|problem| Error::Usage { problem: format!("--columns: {problem}") })?;
            self.table = TableWriter::new(self.columns.titles());
        }
        Ok(self)
    }

    /// One resource by itself: JSON has no list around it.
    pub(crate) fn single(mut self, resource: &DynamicMessage) -> Result<(), Error> {
        match self.format {
            Format::Json => {
                let document = documents::of_resource(&self.ty, resource)?;
                writeln!(self.out, "{}", pretty(&document, 0))?;
                Ok(())
            }
            _ => self.page(std::slice::from_ref(resource)),
        }
    }

    pub(crate) fn page(&mut self, resources: &[DynamicMessage]) -> Result<(), Error> {
        match self.format {
            Format::Table | Format::Wide => {
                let rows =
                    resources.iter().map(|r| self.columns.row(r, self.now)).collect::<Vec<_>>();
                if !rows.is_empty() {
                    self.table.rows(self.out, rows)?;
                }
            }
            Format::Json => resources.iter().try_for_each(|r| self.json_item(r))?,
            Format::Yaml => resources.iter().try_for_each(|r| self.yaml_document(r))?,
            Format::Name => {
                for resource in resources {
                    writeln!(self.out, "{}", name_of(&self.ty, resource))?;
                }
            }
        }
        self.printed += resources.len() as u64;
        self.out.flush()?;
        Ok(())
    }

    /// Closes what [`Self::page`] opened; `next_page_token` is where a list stopped, empty at its end.
    pub(crate) fn finish(self, next_page_token: &str) -> Result<(), Error> {
        if self.format == Format::Json {
            let opened = if self.printed == 0 { "{\n  \"items\": [" } else { "\n  " };
            let token = Value::from(next_page_token);
            let rest = if next_page_token.is_empty() {
                String::new()
            } else {
                format!(",\n  \"nextPageToken\": {token}")
            };
            writeln!(self.out, "{opened}]{rest}\n}}")?;
        }
        self.out.flush()?;
        Ok(())
    }

    fn json_item(&mut self, resource: &DynamicMessage) -> Result<(), Error> {
        let document = documents::of_resource(&self.ty, resource)?;
        let opened = if self.printed == 0 { "{\n  \"items\": [" } else { "," };
        write!(self.out, "{opened}\n    {}", pretty(&document, 2))?;
        self.printed += 1;
        Ok(())
    }

    fn yaml_document(&mut self, resource: &DynamicMessage) -> Result<(), Error> {
        let document = documents::of_resource(&self.ty, resource)?;
        if self.printed > 0 {
            writeln!(self.out, "---")?;
        }
        write!(self.out, "{}", yaml(&document)?)?;
        self.printed += 1;
        Ok(())
    }
}

pub(crate) fn name_of(ty: &ResourceType, resource: &DynamicMessage) -> String {
    resource.get_field(&ty.name_field).as_str().unwrap_or_default().to_owned()
}

/// Indented JSON whose lines after the first begin `depth` levels deep.
pub(crate) fn pretty(value: &Value, depth: usize) -> String {
    let text = format!("{value:#}");
    if depth == 0 { text } else { text.replace('\n', &format!("\n{}", "  ".repeat(depth))) }
}

pub(crate) fn yaml(value: &Value) -> Result<String, Error> {
    serde_saphyr::to_string(value)
        .map_err(|error| Error::Answer { problem: format!("cannot be shown as YAML: {error}") })
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::super::json;
    use super::super::testing::device_type;
    use super::*;

    fn device(id: &str, model: &str) -> DynamicMessage {
        let value = serde_json::json!({
            "name": format!("projects/p/devices/{id}"),
            "displayName": "Door 7",
            "metadata": {"createTime": "2026-01-01T00:00:00Z", "labels": {"b": "2", "a": "1"}},
            "spec": {"model": model, "port": 80},
            "status": {"phase": "PHASE_READY", "uptimeSeconds": "9007199254740993"},
        });
        json::from_value(&device_type().message, value).unwrap()
    }

    fn printed(format: Format, pages: &[&[DynamicMessage]], token: &str) -> String {
        let mut out = Vec::new();
        let now = "2026-01-01T03:00:00Z".parse().unwrap();
        let mut printer = Printer::new(&mut out, device_type(), format, now);
        pages.iter().for_each(|page| printer.page(page).unwrap());
        printer.finish(token).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn check(format: Format, pages: &[&[DynamicMessage]], token: &str, expected: Expect) {
        expected.assert_eq(&printed(format, pages, token));
    }

    #[test]
    fn columns_stay_aligned_over_pages() {
        let pages: [&[_]; 3] =
            [&[device("long-name", "m")], &[device("a", "n")], &[device("b", "a-long-model")]];
        check(
            Format::Table,
            &pages,
            "",
            expect![[r#"
                NAME                          DISPLAY_NAME  PHASE        MODEL  SECRET  AGE
                projects/p/devices/long-name  Door 7        PHASE_READY  m              3h
                projects/p/devices/a          Door 7        PHASE_READY  n              3h
                projects/p/devices/b          Door 7        PHASE_READY  a-long-model          3h
            "#]],
        );
    }

    #[test]
    fn json_of_a_list_names_the_next_page() {
        let pages: [&[_]; 2] = [&[device("a", "m")], &[device("b", "m")]];
        let text = printed(Format::Json, &pages, "t\"ok");
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["items"].as_array().unwrap().len(), 2);
        assert_eq!(value["items"][1]["name"], "projects/p/devices/b");
        assert_eq!(value["nextPageToken"], "t\"ok");
        check(
            Format::Json,
            &[],
            "",
            expect![[r#"
            {
              "items": []
            }
        "#]],
        );
    }

    #[test]
    fn yaml_is_one_document_for_each_resource() {
        check(
            Format::Yaml,
            &[&[device("a", "m")], &[device("b", "m")]],
            "",
            expect![[r#"
                kind: devices.example.com/Device
                apiVersion: v1
                name: projects/p/devices/a
                metadata:
                  createTime: "2026-01-01T00:00:00Z"
                  labels:
                    a: "1"
                    b: "2"
                displayName: Door 7
                spec:
                  model: m
                  port: 80
                status:
                  phase: PHASE_READY
                  uptimeSeconds: "9007199254740993"
                ---
                kind: devices.example.com/Device
                apiVersion: v1
                name: projects/p/devices/b
                metadata:
                  createTime: "2026-01-01T00:00:00Z"
                  labels:
                    a: "1"
                    b: "2"
                displayName: Door 7
                spec:
                  model: m
                  port: 80
                status:
                  phase: PHASE_READY
                  uptimeSeconds: "9007199254740993"
            "#]],
        );
    }

    #[test]
    fn one_resource_is_plain_json() {
        let mut out = Vec::new();
        Printer::new(&mut out, device_type(), Format::Json, jiff::Timestamp::UNIX_EPOCH)
            .single(&device("a", "m"))
            .unwrap();
        let value: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["kind"], "devices.example.com/Device");
        assert_eq!(value["status"]["uptimeSeconds"], "9007199254740993");
    }

    #[test]
    fn names_are_one_a_line() {
        check(
            Format::Name,
            &[&[device("a", "m")]],
            "",
            expect![[r#"
            projects/p/devices/a
        "#]],
        );
    }
}
