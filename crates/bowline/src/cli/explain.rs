//! `bowline list --explain`: how the server found the rows, as a small table on standard error.

use serde::Deserialize;

use super::error::Error;
use super::print::TableWriter;

/// What the server says of one list, as far as it is shown; what newer servers add is left out.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Explained {
    rows_returned: u64,
    rows_looked_at: u64,
    ways: Vec<Way>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Way {
    region: String,
    way: String,
    reads: String,
    index: String,
    within: String,
    ranges: Option<u64>,
    in_order: bool,
    rows_looked_at: u64,
    answered: bool,
}

/// Explanations of the pages of one list, added up.
#[derive(Debug, Default)]
pub(crate) struct Explanation {
    total: Explained,
    n_pages: u64,
}

impl Explanation {
    /// Adds what the server says of one page; `None`: it says nothing.
    pub(crate) fn add(&mut self, header: Option<&str>) -> Result<(), Error> {
        let Some(header) = header else { return Ok(()) };
        let page: Explained = serde_json::from_str(header).map_err(|error| Error::Answer {
            problem: format!("cannot read the explanation: {error}"),
        })?;
        self.n_pages += 1;
        self.total.rows_returned += page.rows_returned;
        self.total.rows_looked_at += page.rows_looked_at;
        for way in page.ways {
            match self.total.ways.iter_mut().find(|known| known.is_same(&way)) {
                Some(known) => {
                    known.rows_looked_at += way.rows_looked_at;
                    known.answered |= way.answered;
                }
                None => self.total.ways.push(way),
            }
        }
        Ok(())
    }

    pub(crate) fn render(&self) -> Result<String, Error> {
        if self.n_pages == 0 {
            return Ok("note: this server does not explain its lists".to_owned());
        }
        let mut titles =
            vec!["REGION", "WAY", "INDEX", "WITHIN", "RANGES", "IN ORDER", "LOOKED AT", "ANSWERED"];
        let mut rows: Vec<_> = self.total.ways.iter().map(Way::cells).collect();
        if self.total.ways.iter().all(|way| way.region.is_empty()) {
            titles.remove(0);
            rows.iter_mut().for_each(|row| drop(row.remove(0)));
        }
        let mut table = TableWriter::new(titles.into_iter().map(str::to_owned).collect());
        let mut text = Vec::new();
        table.rows(&mut text, rows)?;
        let Explained { rows_returned, rows_looked_at, .. } = self.total;
        let pages =
            if self.n_pages == 1 { String::new() } else { format!(" on {} pages", self.n_pages) };
        let table = String::from_utf8_lossy(&text);
        let rows = if rows_returned == 1 { "row" } else { "rows" };
        Ok(format!("{table}{rows_returned} {rows} returned{pages}, {rows_looked_at} looked at"))
    }
}

impl Way {
    fn is_same(&self, other: &Self) -> bool {
        (&self.region, &self.way, &self.index, &self.within, &self.reads)
            == (&other.region, &other.way, &other.index, &other.within, &other.reads)
    }

    fn cells(&self) -> Vec<String> {
        let dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
        let way = match self.reads.as_str() {
            "page" | "" => self.way.clone(),
            reads => format!("{} ({reads})", self.way),
        };
        vec![
            dash(&self.region),
            way,
            dash(&self.index),
            dash(&self.within),
            self.ranges.map_or_else(|| "-".to_owned(), |ranges| ranges.to_string()),
            yes(self.in_order),
            self.rows_looked_at.to_string(),
            yes(self.answered),
        ]
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn pages_are_added_up() {
        let mut explanation = Explanation::default();
        let page = r#"{"rows_returned":2,"rows_looked_at":18,"news":1,"ways":[
            {"way":"points","reads":"page","index":"status.phase","within":"status.phase = READY","ranges":1,
             "in_order":true,"rows_looked_at":16,"answered":true},
            {"way":"names","reads":"count","within":"projects/p/","in_order":true,"rows_looked_at":2,"answered":false}]}"#;
        explanation.add(Some(page)).unwrap();
        explanation.add(Some(page)).unwrap();
        expect![[r#"
            WAY            INDEX         WITHIN                RANGES  IN ORDER  LOOKED AT  ANSWERED
            points         status.phase  status.phase = READY  1       yes       32         yes
            names (count)  -             projects/p/           -       yes       4          no
            4 rows returned on 2 pages, 36 looked at"#]]
        .assert_eq(&explanation.render().unwrap());
    }

    #[test]
    fn a_server_that_does_not_know_it_is_told_of() {
        let mut explanation = Explanation::default();
        explanation.add(None).unwrap();
        assert!(explanation.render().unwrap().starts_with("note: "));
        assert!(explanation.add(Some("{")).is_err());
    }
}
