//! `realmgate export`: a realm as a file of JSON lines.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use indicatif::ProgressBar;
use serde_json::Value;

use super::{Exit, Failure, ServerOption, realm};
use crate::model::realm::RealmName;

#[derive(Debug, Args)]
pub struct Export {
    #[arg(value_parser = RealmName::parse)]
    realm: RealmName,
    /// Where to write; standard output if it is not said. The file holds the hashes of tokens
    file: Option<PathBuf>,
    #[command(flatten)]
    server: ServerOption,
}

impl Export {
    /// Writes to a file beside the one that is meant, which takes its place once it is whole.
    pub async fn run(self) -> Result<(), Failure> {
        let client = self.server.clone().sign_in().await?;
        let lines = client.download(&format!("{}/export", realm::path(&self.realm))).await;
        let mut lines = lines.map_err(|e| realm::missing(e, &self.realm))?;
        let partial = self.file.as_ref().map(|file| PathBuf::from(format!("{}.part", file.display())));
        let mut out: Box<dyn Write> = match &partial {
            Some(path) => Box::new(BufWriter::new(private(path).map_err(|e| unusable(path, &e))?)),
            None => Box::new(io::stdout().lock()),
        };
        let written = |e: &io::Error| Failure::new(Exit::Failed, format_args!("cannot write the export: {e}"));
        let bar = if self.file.is_some() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        let mut tail = Tail::default();
        while let Some(bytes) = lines.next().await? {
            tail.see(&bytes);
            out.write_all(&bytes).map_err(|e| written(&e))?;
            bar.inc(1);
            bar.set_message(format!("{} lines", tail.lines));
        }
        out.flush().map_err(|e| written(&e))?;
        drop(out);
        bar.finish_and_clear();
        let end = tail.end().ok_or_else(|| {
            Failure::new(Exit::Failed, "the export was cut off: its last line is not `end`").hint("run it again")
        })?;
        let head = tail.first.as_slice().split(|byte| *byte == b'\n').next().unwrap_or_default();
        let head: Value = serde_json::from_slice(head).unwrap_or_default();
        eprintln!(
            "follow the events from {}; the copy is exact once they are applied up to {}",
            head["seq"], end["until"]
        );
        if let (Some(partial), Some(file)) = (&partial, &self.file) {
            fs::rename(partial, file).map_err(|e| unusable(file, &e))?;
            eprintln!("{}: {} users, {} groups, {} lines", file.display(), end["users"], end["groups"], tail.lines);
        }
        Ok(())
    }
}

/// The first and the last line of what went by.
#[derive(Default)]
struct Tail {
    /// The first line, and what came with it.
    first: Vec<u8>,
    last: Vec<u8>,
    lines: u64,
}

impl Tail {
    fn see(&mut self, bytes: &[u8]) {
        if !self.first.contains(&b'\n') {
            self.first.extend_from_slice(bytes);
        }
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.last.last() == Some(&b'\n') {
                self.last.clear();
            }
            self.last.extend_from_slice(part);
            self.lines += u64::from(part.last() == Some(&b'\n'));
        }
    }

    fn end(&self) -> Option<Value> {
        let line: Value = serde_json::from_slice(&self.last).ok()?;
        (line["type"] == "end").then_some(line)
    }
}

/// What is in it is nobody else's business on this machine.
fn private(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    File::options().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Usage, format_args!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_known_however_the_lines_are_cut() {
        let text = b"{\"type\":\"export\"}\n{\"type\":\"end\",\"users\":2}\n";
        for size in 1..=text.len() {
            let mut tail = Tail::default();
            text.chunks(size).for_each(|chunk| tail.see(chunk));
            assert_eq!((tail.end().map(|end| end["users"].clone()), tail.lines), (Some(2.into()), 2), "{size}");
        }
        let mut cut = Tail::default();
        cut.see(b"{\"type\":\"end\"}\n{\"type\":\"us");
        assert!(cut.end().is_none());
    }
}
