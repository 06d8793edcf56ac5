//! `realmgate login` and `logout`: a refresh token for each server, in a file that only its owner can read.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, IsTerminal as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use clap::Args;
use serde_json::{Value, json};

use super::{
    Exit, Failure, ServerOption,
    client::{self, Grant, Server},
    output::{Report, ask},
};
use crate::{config, secret::Secret};

#[derive(Debug, Args)]
pub struct Login {
    /// Whose login; asked for when it is not given
    #[arg(long, short, env = "REALMGATE_ADMIN_USERNAME")]
    username: Option<String>,
    #[command(flatten)]
    server: ServerOption,
}

#[derive(Debug, Args)]
pub struct Logout {
    #[command(flatten)]
    server: ServerOption,
}

/// A login that lasts.
#[derive(Debug)]
pub struct Stored {
    pub username: String,
    pub refresh_token: Secret<String>,
}

impl Login {
    /// Takes the password from `REALMGATE_ADMIN_PASSWORD`, from the terminal, or from the first line of stdin.
    pub async fn run(self) -> Result<Report, Failure> {
        let server = self.server.url;
        let username = self.username.map_or_else(|| ask("Username: "), Ok)?;
        let password = match std::env::var("REALMGATE_ADMIN_PASSWORD") {
            Ok(password) if !password.is_empty() => password,
            _ => ask_hidden("Password: ")?,
        };
        let grant = Grant::Password { username: &username, password: &Secret::new(password) };
        let tokens = client::tokens(&client::outbound()?, &server, grant).await?;
        let refresh_token = tokens.refresh_token.ok_or_else(|| {
            Failure::new(Exit::Failed, "the server gives no refresh token, so there is nothing to store")
                .hint("set REALMGATE_ADMIN_USERNAME and REALMGATE_ADMIN_PASSWORD instead")
        })?;
        let text = format!("Signed in to {} as {username}.", server.as_str());
        let json = json!({ "server": server.as_str(), "username": username });
        Stored { username, refresh_token }.save(&server)?;
        Ok(Report { json, text })
    }
}

impl Logout {
    pub fn run(self) -> Result<Report, Failure> {
        let server = self.server.url;
        let mut logins = Logins::open()?;
        let text = match logins.stored.remove(server.as_str()) {
            Some(_) => {
                logins.save()?;
                format!("Signed out of {}.", server.as_str())
            }
            None => format!("There was no login to {}.", server.as_str()),
        };
        Ok(Report { json: json!({ "server": server.as_str() }), text })
    }
}

impl Stored {
    /// The login to `server`, if there is one.
    pub fn load(server: &Server) -> Result<Option<Self>, Failure> {
        let logins = Logins::open()?;
        let text = |key: &str| logins.stored.get(server.as_str())?[key].as_str().map(str::to_owned);
        Ok(text("username").zip(text("refresh_token")).map(|(username, refresh_token)| {
            let refresh_token = Secret::new(refresh_token);
            Self { username, refresh_token }
        }))
    }

    /// Puts it in the place of an earlier login to `server`.
    pub fn save(&self, server: &Server) -> Result<(), Failure> {
        let mut logins = Logins::open()?;
        let entry = json!({ "username": self.username, "refresh_token": self.refresh_token.reveal() });
        logins.stored.insert(server.as_str().to_owned(), entry);
        logins.save()
    }
}

/// The file of all logins, by server.
struct Logins {
    path: PathBuf,
    stored: BTreeMap<String, Value>,
}

impl Logins {
    fn open() -> Result<Self, Failure> {
        let folder = config::xdg("XDG_CONFIG_HOME", ".config").ok_or_else(|| {
            Failure::new(Exit::Failed, "there is no home for logins").hint("set the variable HOME or XDG_CONFIG_HOME")
        })?;
        Self::at(folder.join("logins.json"))
    }

    fn at(path: PathBuf) -> Result<Self, Failure> {
        let stored = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|e| unusable(&path, &e))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(e) => return Err(unusable(&path, &e)),
        };
        Ok(Self { path, stored })
    }

    fn save(&self) -> Result<(), Failure> {
        let text = serde_json::to_vec_pretty(&self.stored).map_err(|e| unusable(&self.path, &e))?;
        write_private(&self.path, &text).map_err(|e| unusable(&self.path, &e))
    }
}

/// All or nothing, and readable by the owner alone from the first byte.
fn write_private(path: &Path, text: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let new = path.with_extension(format!("new-{}", std::process::id()));
    let _left_over = fs::remove_file(&new);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(new, path)
}

fn unusable(path: &Path, error: &dyn std::error::Error) -> Failure {
    Failure::new(Exit::Failed, format_args!("cannot use the logins in {}: {error}", path.display()))
        .hint("make the file readable and writable for you, or remove it and sign in again")
}

/// As [`ask`], but what is typed does not show.
pub fn ask_hidden(question: &str) -> Result<String, Failure> {
    if !io::stdin().is_terminal() {
        return ask(question);
    }
    let _hidden = Hidden::begin()?;
    let answer = ask(question);
    eprintln!();
    answer
}

/// A terminal without echo, for as long as this lives.
struct Hidden;

impl Hidden {
    fn begin() -> Result<Self, Failure> {
        if Self::stty("-echo") {
            return Ok(Self);
        }
        let failure = Failure::new(Exit::Failed, "cannot keep the password from showing on this terminal");
        Err(failure.hint("set REALMGATE_ADMIN_PASSWORD, or write the password to stdin"))
    }

    fn stty(mode: &str) -> bool {
        Command::new("stty").arg(mode).status().is_ok_and(|status| status.success())
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        Self::stty("echo");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn logins_are_kept_from_other_people() {
        let folder = std::env::temp_dir().join(format!("realmgate-logins-{}", std::process::id()));
        let path = folder.join("logins.json");
        for name in ["one", "two"] {
            let mut logins = Logins::at(path.clone()).unwrap();
            logins.stored.insert(name.into(), json!({ "username": name }));
            logins.save().unwrap();
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&folder)), (0o600, 0o700));
        assert_eq!(Logins::at(path).unwrap().stored.len(), 2);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "no left-overs");
        fs::remove_dir_all(folder).unwrap();
    }
}
