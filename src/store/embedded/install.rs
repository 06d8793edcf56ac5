//! Finds the programs of an installed PostgreSQL.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
};

use tokio::process::Command;

use super::{Error, Result, folder::Folder};

/// The oldest major version that the gateway works with.
pub const OLDEST: u32 = 14;

/// Where distributions put the server programs when they are not on the `PATH`; `*` is one path segment.
const PLACES: &[&str] = &[
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
];

/// The server programs of one PostgreSQL version.
#[derive(Debug)]
pub struct Installation {
    pub version: Version,
    folder: PathBuf,
}

/// A version as `postgres --version` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub major: u32,
    text: String,
}

impl Installation {
    /// The version that made the cluster, or for a new cluster the newest. An explicit `folder` is the only one asked.
    pub async fn find(folder: Option<&Path>, cluster: &Folder) -> Result<Self> {
        let candidates = folder.map_or_else(candidates, |folder| vec![folder.to_owned()]);
        let mut found = Vec::new();
        for folder in candidates {
            if let Some(version) = version_in(&folder).await
                && version.major >= OLDEST
            {
                found.push(Self { version, folder });
            }
        }
        if found.is_empty() {
            let looked_in =
                folder.map_or_else(|| format!("PATH, {}", PLACES.join(", ")), |folder| folder.display().to_string());
            return Err(Error::NotInstalled { looked_in });
        }
        let Some(made_by) = cluster.made_by()? else {
            // A tie goes to the first, which is the one on the PATH.
            return Ok(found
                .into_iter()
                .rev()
                .max_by_key(|found| found.version.major)
                .expect("not empty: tested above"));
        };
        let majors: Vec<_> = found.iter().map(|found| found.version.major.to_string()).collect();
        found.into_iter().find(|found| found.version.major == made_by).ok_or_else(|| Error::OtherMajor {
            folder: cluster.cluster(),
            made_by,
            found: majors.join(", "),
        })
    }

    pub fn postgres(&self) -> PathBuf {
        self.folder.join("postgres")
    }

    pub fn initdb(&self) -> PathBuf {
        self.folder.join("initdb")
    }
}

impl Version {
    /// Reads `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, or `… 19devel`.
    fn parse(output: &str) -> Option<Self> {
        let text = output.trim().strip_prefix("postgres (PostgreSQL) ")?.split(' ').next()?;
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        Some(Self { major: text[..digits].parse().ok()?, text: text.to_owned() })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Folders to look in, the most likely first.
fn candidates() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).chain(PLACES.iter().flat_map(|place| matching(place))).collect()
}

/// Folders that fit a pattern with one `*`.
fn matching(place: &str) -> Vec<PathBuf> {
    let Some((before, after)) = place.split_once('*') else { return vec![PathBuf::from(place)] };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path().join(after.trim_start_matches('/')))
        .collect()
}

/// The version of the server in `folder`; `None` when it or its `initdb` is missing or does not run.
async fn version_in(folder: &Path) -> Option<Version> {
    if !folder.join("initdb").is_file() || !folder.join("postgres").is_file() {
        return None;
    }
    let output = Command::new(folder.join("postgres")).arg("--version").output().await.ok()?;
    Version::parse(&String::from_utf8_lossy(&output.stdout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_as_distributions_write_it() {
        let major = |output| Version::parse(output).map(|version| version.major);
        assert_eq!(major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 14.0\n"), Some(14));
        assert_eq!(major("postgres (PostgreSQL) 19devel\n"), Some(19));
        assert_eq!(major("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(major("mysqld 8.0\n"), None);
    }
}
