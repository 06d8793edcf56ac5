//! `realmgate import`: a file of JSON lines into a realm, batch by batch.
//!
//! Cut off, it is simply run again: what is there already is left alone, and told to be unchanged. So there is no state
//! beside the file, and nothing that could disagree with the realm.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read as _, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bytes::Bytes;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Exit, Failure, ServerOption,
    client::{Client, decode},
    output::{Format, Report, Table, printable},
    realm,
};
use crate::model::realm::RealmName;

/// Lines of a batch, at most; the server takes no more.
const MOST_LINES: usize = 1_000;
/// Bytes of a batch, at most, unless it is one line: some ten thousand members are as much work as a request has time for.
const MOST_BYTES: usize = 1 << 20;
/// Bytes of a line, at most; with what a dry run adds, the server takes no more.
const MOST_IN_LINE: u64 = 8 << 20;
/// How often a batch is sent which the server could not take at the moment.
const TRIES: u32 = 8;
/// Refusals which are shown; the report has all.
const SHOWN: usize = 20;
/// An access token may be over after this.
const SIGNED_IN: Duration = Duration::from_secs(60);

pub const PROGRESS: &str = "{bar:40} {percent:>3} %  {msg}  {elapsed} (left: {eta})";

#[derive(Debug, Args)]
pub struct Import {
    #[arg(value_parser = RealmName::parse)]
    realm: RealmName,
    /// Lines of JSON, as `realmgate export` writes them
    file: PathBuf,
    /// Try it and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Write what became of each line to this file, as lines of JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    #[command(flatten)]
    server: ServerOption,
    /// How to answer: for people or for scripts
    #[arg(long, short, value_enum, default_value_t, env = "REALMGATE_OUTPUT")]
    output: Format,
}

/// What the server says of a batch.
#[derive(Deserialize)]
struct Answer {
    lines: Vec<Told>,
}

/// What the server says of a line; `line` counts within the batch.
#[derive(Deserialize)]
struct Told {
    line: usize,
    #[serde(rename = "type")]
    kind: String,
    id: String,
    outcome: String,
    reason: Option<String>,
}

/// Lines which are sent together.
#[derive(Default)]
struct Batch {
    text: Vec<u8>,
    /// Number in the file of each line.
    numbers: Vec<usize>,
}

impl Import {
    pub async fn run(self) -> Result<(), Failure> {
        let size = sound(&self.file)?;
        let mut lines = Lines::open(&self.file)?;
        let mut running = Running::start(&self, size).await?;
        while let Some(batch) = lines.batch()? {
            running.send(&batch).await?;
        }
        let (report, refused) = running.finish()?;
        report.print(self.output)?;
        if refused == 0 {
            return Ok(());
        }
        let failure = Failure::new(Exit::Partly, format_args!("{refused} lines were refused, all others were taken"));
        Err(failure.hint("mend these lines, or what stands in their way, and run the same command again"))
    }

    fn path(&self) -> String {
        format!("{}/import?dryRun={}", realm::path(&self.realm), self.dry_run)
    }
}

/// An import under way.
struct Running<'a> {
    import: &'a Import,
    client: Client,
    signed_in: Instant,
    bar: ProgressBar,
    report: Option<BufWriter<File>>,
    counts: HashMap<String, usize>,
    /// The first of them: number of the line, and why.
    refused: Vec<(usize, String)>,
    /// In a dry run: what the lines before would have brought.
    known: Known,
}

#[derive(Default)]
struct Known {
    users: HashSet<Uuid>,
    groups: HashSet<Uuid>,
    roles: HashSet<String>,
}

impl<'a> Running<'a> {
    async fn start(import: &'a Import, size: u64) -> Result<Self, Failure> {
        let report = match &import.report {
            Some(path) => Some(BufWriter::new(File::create(path).map_err(|e| unusable(path, &e))?)),
            None => None,
        };
        // Hidden where nobody looks at a terminal.
        let bar = ProgressBar::new(size)
            .with_style(ProgressStyle::with_template(PROGRESS).map_err(|e| Failure::new(Exit::Failed, e))?);
        Ok(Self {
            import,
            client: import.server.clone().sign_in().await?,
            signed_in: Instant::now(),
            bar,
            report,
            counts: HashMap::new(),
            refused: Vec::new(),
            known: Known::default(),
        })
    }

    async fn send(&mut self, batch: &Batch) -> Result<(), Failure> {
        let assumed = if self.import.dry_run { self.known.assumed(batch) } else { None };
        let added = usize::from(assumed.is_some());
        let mut text = assumed.map_or_else(Vec::new, |line| format!("{line}\n").into_bytes());
        text.extend_from_slice(&batch.text);
        let answer = self.sent(text.into()).await?;
        for line in answer.lines {
            let Some(number) = line.line.checked_sub(1 + added).and_then(|at| batch.numbers.get(at)) else { continue };
            self.note(*number, line)?;
        }
        self.bar.inc(batch.text.len() as u64);
        let refused = self.counts.get("refused").copied().unwrap_or_default();
        self.bar.set_message(format!("{} lines, {refused} refused", self.counts.values().sum::<usize>()));
        Ok(())
    }

    /// Sends a batch until the server has taken it: it is the same afterwards, however often it came.
    async fn sent(&mut self, text: Bytes) -> Result<Answer, Failure> {
        let mut tries = 0;
        loop {
            tries += 1;
            if self.signed_in.elapsed() > SIGNED_IN {
                self.client = self.import.server.clone().sign_in().await?;
                self.signed_in = Instant::now();
            }
            match self.client.post_lines(&self.import.path(), text.clone()).await {
                Ok(answer) => return decode(answer),
                Err(failure) if failure.exit == Exit::Unavailable && tries < TRIES => {
                    tokio::time::sleep(Duration::from_secs(1 << tries.min(4))).await;
                }
                Err(failure) => {
                    let failure = realm::missing(failure, &self.import.realm);
                    return Err(failure.hint("run the same command again: what is done already stays as it is"));
                }
            }
        }
    }

    fn note(&mut self, number: usize, told: Told) -> Result<(), Failure> {
        let Told { kind, id, outcome, reason, .. } = told;
        if self.import.dry_run && outcome != "refused" {
            self.known.add(&kind, &id);
        }
        if let Some(report) = &mut self.report {
            let told = json!({ "line": number, "type": kind, "id": id, "outcome": outcome, "reason": reason });
            writeln!(report, "{told}").map_err(|e| Failure::new(Exit::Failed, format_args!("the report: {e}")))?;
        }
        if let Some(reason) = reason.filter(|_| self.refused.len() < SHOWN) {
            self.refused.push((number, reason));
        }
        *self.counts.entry(outcome).or_default() += 1;
        Ok(())
    }

    fn finish(mut self) -> Result<(Report, usize), Failure> {
        self.bar.finish_and_clear();
        if let Some(report) = &mut self.report {
            report.flush().map_err(|e| Failure::new(Exit::Failed, format_args!("the report: {e}")))?;
        }
        let count = |outcome: &str| self.counts.get(outcome).copied().unwrap_or_default();
        let counts = json!({
            "created": count("created"), "updated": count("updated"),
            "unchanged": count("unchanged"), "refused": count("refused"),
        });
        let facts = Table::of_facts(["created", "updated", "unchanged", "refused"].map(|name| (name, &counts[name])));
        let mut text = facts.to_string();
        if self.import.dry_run {
            text.push_str("\nNothing was changed: this was a dry run.\n");
        }
        for (number, reason) in &self.refused {
            text = format!("{text}\nline {number}: {}", printable(reason));
        }
        let json = json!({
            "realm": self.import.realm, "dry_run": self.import.dry_run, "counts": counts,
            "refused": self.refused.iter().map(|(line, reason)| json!({ "line": line, "reason": reason })).collect::<Vec<_>>(),
        });
        Ok((Report { json, text }, count("refused")))
    }
}

impl Known {
    fn add(&mut self, kind: &str, id: &str) {
        match (kind, Uuid::try_parse(id)) {
            ("user", Ok(id)) => drop(self.users.insert(id)),
            ("group", Ok(id)) => drop(self.groups.insert(id)),
            ("role", _) => drop(self.roles.insert(id.to_owned())),
            _ => {}
        }
    }

    /// What the batch refers to and a former batch would have brought, as a line for the server.
    fn assumed(&self, batch: &Batch) -> Option<Value> {
        let mut found = Self::default();
        for line in batch.text.split(|byte| *byte == b'\n') {
            let Ok(line) = serde_json::from_slice::<Value>(line) else { continue };
            let list = |name: &str| line[name].as_array().map_or(&[][..], Vec::as_slice);
            for id in list("members").iter().chain([&line["group"]]).filter_map(Value::as_str) {
                let Ok(id) = Uuid::try_parse(id) else { continue };
                found.users.extend(self.users.get(&id));
                found.groups.extend(self.groups.get(&id));
            }
            let roles = list("roles").iter().filter_map(|role| self.roles.get(role.as_str()?));
            found.roles.extend(roles.cloned());
        }
        let Self { users, groups, roles } = found;
        let any = !users.is_empty() || !groups.is_empty() || !roles.is_empty();
        any.then(|| json!({ "type": "assumed", "users": users, "groups": groups, "roles": roles }))
    }
}

/// The lines of a file, a batch at a time.
struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    number: usize,
    /// A line for which the last batch had no room.
    kept: Option<Vec<u8>>,
}

impl Lines {
    fn open(path: &Path) -> Result<Self, Failure> {
        let file = File::open(path).map_err(|e| unusable(path, &e))?;
        Ok(Self { path: path.to_owned(), reader: BufReader::new(file), number: 0, kept: None })
    }

    /// The next line, its end included.
    fn line(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        if let Some(kept) = self.kept.take() {
            return Ok(Some(kept));
        }
        let mut line = Vec::new();
        let mut limited = self.reader.by_ref().take(MOST_IN_LINE + 1);
        limited.read_until(b'\n', &mut line).map_err(|e| unusable(&self.path, &e))?;
        self.number += 1;
        if line.len() as u64 > MOST_IN_LINE {
            let what = format!("line {} is longer than {} MiB", self.number, MOST_IN_LINE >> 20);
            return Err(
                Failure::new(Exit::Usage, what).hint("members of a large group go into lines of type `members`")
            );
        }
        Ok(Some(line).filter(|line| !line.is_empty()))
    }

    fn batch(&mut self) -> Result<Option<Batch>, Failure> {
        let mut batch = Batch::default();
        while batch.numbers.len() < MOST_LINES - 1 {
            let Some(mut line) = self.line()? else { break };
            if !batch.text.is_empty() && batch.text.len() + line.len() > MOST_BYTES {
                self.kept = Some(line);
                break;
            }
            if line.last() != Some(&b'\n') {
                line.push(b'\n');
            }
            batch.text.extend(line);
            batch.numbers.push(self.number);
        }
        Ok(Some(batch).filter(|batch| !batch.numbers.is_empty()))
    }
}

/// Is it a file which ends where it should? Answers its size in bytes.
fn sound(path: &Path) -> Result<u64, Failure> {
    let mut lines = Lines::open(path)?;
    let (mut is_export, mut last, mut size) = (false, Vec::new(), 0);
    while let Some(line) = lines.line()? {
        size += line.len() as u64;
        if lines.number == 1 {
            is_export = kind(&line).as_deref() == Some("export");
        }
        if !line.trim_ascii().is_empty() {
            last = line;
        }
    }
    if is_export && kind(&last).as_deref() != Some("end") {
        let what = format!("{}: this export was cut off: its last line is not `end`", path.display());
        return Err(Failure::new(Exit::Usage, what).hint("export the realm again"));
    }
    Ok(size)
}

fn kind(line: &[u8]) -> Option<String> {
    serde_json::from_slice::<Value>(line).ok()?["type"].as_str().map(str::to_owned)
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Usage, format_args!("{}: {error}", path.display()))
}
