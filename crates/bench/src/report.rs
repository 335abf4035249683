//! Figures: what was measured, beside its goal and its limit; as a table for people and as JSON for tools.

use std::borrow::Cow;
use std::path::Path;

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use serde::Serialize;

use crate::error::Error;

/// Long notes are broken to fit into this many columns.
const TABLE_WIDTH: u16 = 140;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Higher,
    Lower,
}

/// One line of a report. `goal` and `limit` are in the unit of `value`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) metric: Cow<'static, str>,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
    /// What the project wants; `None` where a figure only explains another one.
    pub(crate) goal: Option<f64>,
    /// What was measured beside it in the same run, with the least that can do the job.
    pub(crate) limit: Option<f64>,
    /// `value / limit`
    pub(crate) ratio: Option<f64>,
    pub(crate) note: String,
}

impl Figure {
    pub(crate) fn higher(
        metric: impl Into<Cow<'static, str>>,
        value: f64,
        unit: &'static str,
    ) -> Self {
        Self::new(metric.into(), value, unit, Better::Higher)
    }

    pub(crate) fn lower(
        metric: impl Into<Cow<'static, str>>,
        value: f64,
        unit: &'static str,
    ) -> Self {
        Self::new(metric.into(), value, unit, Better::Lower)
    }

    fn new(metric: Cow<'static, str>, value: f64, unit: &'static str, better: Better) -> Self {
        let (goal, limit, ratio) = (None, None, None);
        Self { metric, value: round(value), unit, better, goal, limit, ratio, note: String::new() }
    }

    pub(crate) fn goal(mut self, goal: f64) -> Self {
        self.goal = Some(round(goal));
        self
    }

    pub(crate) fn limit(mut self, limit: f64) -> Self {
        self.limit = Some(round(limit));
        self.ratio = (limit > 0.0).then(|| round(self.value / limit));
        self
    }

    /// The goal is this share of the limit, which has to be given before.
    pub(crate) fn goal_of_limit(self, share: f64) -> Self {
        let goal = self.limit.map(|limit| limit * share);
        match goal {
            Some(goal) => self.goal(goal).note(format!("goal: {share} of the limit")),
            None => self,
        }
    }

    pub(crate) fn note(mut self, note: impl AsRef<str>) -> Self {
        if !self.note.is_empty() {
            self.note.push_str("; ");
        }
        self.note.push_str(note.as_ref());
        self
    }

    /// `None` if there is no goal.
    fn is_met(&self) -> Option<bool> {
        let goal = self.goal?;
        Some(match self.better {
            Better::Higher => self.value >= goal,
            Better::Lower => self.value <= goal,
        })
    }
}

/// Four significant digits: what is beyond them is noise.
fn round(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let digits = 3 - value.abs().log10().floor() as i32;
    let factor = 10f64.powi(digits);
    (value * factor).round() / factor
}

/// Prints the table of a bench and writes `NAME.json` into `folder`.
pub(crate) fn publish(folder: &Path, name: &str, figures: &[Figure]) -> Result<(), Error> {
    println!("{name}\n{}", table(figures));
    std::fs::create_dir_all(folder).map_err(Error::io(format!("make {}", folder.display())))?;
    let path = folder.join(format!("{name}.json"));
    let mut json =
        serde_json::to_string_pretty(figures).expect("figures are plain numbers and texts");
    json.push('\n');
    std::fs::write(&path, json).map_err(Error::io(format!("write {}", path.display())))
}

fn table(figures: &[Figure]) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(TABLE_WIDTH);
    table.set_header(["metric", "value", "unit", "goal", "met", "limit", "ratio", "note"]);
    let number = |n: Option<f64>| n.map_or_else(String::new, |n| n.to_string());
    for figure in figures {
        let met = match figure.is_met() {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "",
        };
        let sign = match figure.better {
            Better::Higher => "≥",
            Better::Lower => "≤",
        };
        let goal = figure.goal.map_or_else(String::new, |goal| format!("{sign} {goal}"));
        table.add_row([
            &*figure.metric,
            &figure.value.to_string(),
            figure.unit,
            &goal,
            met,
            &number(figure.limit),
            &number(figure.ratio),
            &figure.note,
        ]);
    }
    for column in [1, 3, 5, 6] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The middle value; of an even number of values the mean of the two in the middle; 0 of none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_that_is_a_share_is_in_the_unit_of_the_value() {
        let figure = Figure::higher("rate", 90.0, "1/s").limit(100.0).goal_of_limit(0.85);
        assert_eq!(
            (figure.goal, figure.ratio, figure.is_met()),
            (Some(85.0), Some(0.9), Some(true))
        );
    }

    #[test]
    fn a_lower_figure_misses_its_goal_from_above() {
        let figure = Figure::lower("p99", 25.1, "ms").goal(25.0);
        assert_eq!(figure.is_met(), Some(false));
    }

    #[test]
    fn the_median_does_not_care_for_order_or_outliers() {
        assert_eq!(median([9.0, 1.0, 1_000.0]), 9.0);
        assert_eq!(median([4.0, 2.0]), 3.0);
    }

    #[test]
    fn four_digits_are_kept() {
        assert_eq!(round(123_456.0), 123_500.0);
        assert_eq!(round(0.012_345_6), 0.012_35);
        assert_eq!(round(0.0), 0.0);
    }

    #[test]
    fn a_figure_has_the_fields_that_tools_read() {
        let figure = Figure::lower("p99", 5.0, "ms").limit(2.0).note("quiet");
        let json = serde_json::to_string(&figure).unwrap();
        let expected = r#"{"metric":"p99","value":5.0,"unit":"ms","better":"lower","goal":null,"limit":2.0,"ratio":2.5,"note":"quiet"}"#;
        assert_eq!(json, expected);
    }
}
