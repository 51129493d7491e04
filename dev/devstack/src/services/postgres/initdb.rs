//! Creates a cluster: `initdb` writes to a temporary directory that is renamed when it is complete, so that a start that
//! was killed halfway leaves nothing that looks like a cluster.

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use super::{Durability, NAME, Settings};
use crate::error::{Error, Result};
use crate::files::owner::Owner;
use crate::files::secret::{Secret, write_private};
use crate::process::child::{Environment, Process, Spec};

/// The prefix of the temporary directory's name.
const DRAFT: &str = "postgres-draft-";

/// Creates the cluster in the directory of the settings.
pub(super) async fn create_cluster(settings: &Settings, owner: Option<Owner>) -> Result<()> {
    let parent = settings.home.parent().unwrap_or(Path::new("."));
    remove_old_drafts(parent)?;
    let draft = Draft::new(parent)?;
    let password = draft.0.join("password");
    write_private(&password, settings.password.expose())?;
    if let Some(owner) = owner {
        owner.chown(&draft.0)?;
        owner.chown(&password)?;
    }
    let mut initdb = Process::spawn(&spec(settings, owner, &draft.0, &password))?;
    let status = initdb.wait().await?;
    if !status.success() {
        return Err(initdb.exit_error(status));
    }
    match fs::remove_dir(&settings.home) {
        Ok(()) => {}
        Err(fault) if fault.kind() == ErrorKind::NotFound => {}
        Err(fault) => return Err(Error::path("replace", &settings.home)(fault)),
    }
    fs::rename(draft.0.join("data"), &settings.home).map_err(Error::path("create", &settings.home))
}

fn spec(settings: &Settings, owner: Option<Owner>, draft: &Path, password: &Path) -> Spec {
    let mut args: Vec<OsString> = [
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--username",
        NAME,
    ]
    .map(OsString::from)
    .to_vec();
    args.extend([
        OsString::from("--pwfile"),
        password.into(),
        OsString::from("-D"),
        draft.join("data").into(),
    ]);
    if settings.durability == Durability::Ephemeral {
        args.push(OsString::from("--no-sync"));
    }
    Spec {
        name: "initdb".to_owned(),
        program: settings.bin.join("initdb"),
        args,
        env: Vec::new(),
        inherited: Environment::AllExcept(&["PG", "OPENAI_", "JWT_"]),
        dir: draft.to_owned(),
        log: settings.log.clone(),
        run_as: owner,
        // On SIGTERM, initdb stops its own children.
        stop_signal: Signal::SIGTERM,
        pid_file: settings
            .pid_file
            .as_ref()
            .map(|file| file.with_file_name("initdb.pid")),
        tied_to_us: settings.tied_to_us,
    }
}

/// A temporary directory with a unique name, since an earlier initdb may still be running. Removed when dropped.
struct Draft(PathBuf);

impl Draft {
    fn new(parent: &Path) -> Result<Self> {
        let path = parent.join(format!("{DRAFT}{}", Secret::random(8)?.expose()));
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(Error::path("create", &path))?;
        Ok(Self(path))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // The next start removes what cannot be removed now.
        drop(fs::remove_dir_all(&self.0));
    }
}

fn remove_old_drafts(parent: &Path) -> Result<()> {
    for entry in fs::read_dir(parent).map_err(Error::path("read", parent))? {
        let path = entry.map_err(Error::path("read", parent))?.path();
        if path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(DRAFT.as_bytes()))
        {
            drop(Draft(path));
        }
    }
    Ok(())
}
