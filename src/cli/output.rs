//! What a command answers: a table for people, JSON for scripts, and questions before what hurts.

use std::{
    fmt,
    io::{self, BufRead as _, IsTerminal as _, Write as _},
};

use clap::ValueEnum;
use serde_json::Value;

use super::{Exit, Failure};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    #[default]
    Table,
    Json,
}

/// What came of a command, once for each reader.
#[derive(Debug)]
pub struct Report {
    pub json: Value,
    pub text: String,
}

impl Report {
    /// Writes to stdout. That nobody reads on is no failure (`realmgate realm list | head`).
    pub fn print(&self, format: Format) -> Result<(), Failure> {
        let written = match format {
            Format::Table => writeln!(io::stdout(), "{}", self.text.trim_end()),
            Format::Json => writeln!(io::stdout(), "{:#}", self.json),
        };
        match written {
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::new(Exit::Failed, format_args!("cannot write the answer: {e}")))
            }
            _ => Ok(()),
        }
    }
}

/// Columns as wide as they need to be, two spaces apart.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new<const N: usize>(head: [&str; N]) -> Self {
        Self { rows: vec![head.map(str::to_owned).to_vec()] }
    }

    /// Facts about one thing: names on the left, no head.
    pub fn of_facts<const N: usize>(facts: [(&str, &Value); N]) -> Self {
        Self { rows: facts.map(|(name, value)| vec![name.to_owned(), cell(value)]).to_vec() }
    }

    pub fn row<const N: usize>(&mut self, values: [&Value; N]) {
        self.rows.push(values.map(cell).to_vec());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        for row in &self.rows {
            let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            writeln!(f, "{}", cells.join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// A value as people read it.
pub fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::String(text) => printable(text),
        other => other.to_string(),
    }
}

/// Text of others, unable to steer the terminal.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Asks before something that hurts. Without a terminal there is nobody to ask, and the command says enough.
pub fn confirm(question: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Ok(());
    }
    let answer = ask(&format!("{question} [y/N] "))?;
    if matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes") {
        Ok(())
    } else {
        Err(Failure::new(Exit::Failed, "nothing was changed"))
    }
}

/// The next line of stdin. The question goes to stderr, so that stdout holds the answer of the command alone.
pub fn ask(question: &str) -> Result<String, Failure> {
    if io::stdin().is_terminal() {
        eprint!("{question}");
    }
    let mut line = String::new();
    match io::stdin().lock().read_line(&mut line) {
        Ok(0) => Err(Failure::new(Exit::Usage, format_args!("no answer to: {}", question.trim()))),
        Ok(_) => Ok(line.trim_end_matches(['\r', '\n']).to_owned()),
        Err(e) => Err(Failure::new(Exit::Failed, format_args!("cannot read stdin: {e}"))),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need_to_be() {
        let mut table = Table::new(["REALM", "ENABLED", "NAME"]);
        table.row([&json!("acme"), &json!(true), &json!("Acme GmbH")]);
        table.row([&json!("münchen-nord"), &json!(false), &Value::Null]);
        assert_snapshot!(table, @"
        REALM         ENABLED  NAME
        acme          yes      Acme GmbH
        münchen-nord  no       -
        ");
    }

    #[test]
    fn facts_stand_beside_their_names() {
        let facts = Table::of_facts([("realm", &json!("acme")), ("enabled", &json!(true)), ("users", &json!(7))]);
        assert_snapshot!(facts, @"
        realm    acme
        enabled  yes
        users    7
        ");
    }

    #[test]
    fn text_of_others_cannot_steer_the_terminal() {
        assert_eq!(cell(&json!("a\u{1b}[2Jb\nc")), "a\u{fffd}[2Jb\u{fffd}c");
    }
}
