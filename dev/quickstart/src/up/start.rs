//! Starts the services, the demo model, the API and the workers, each after the parts it depends on are ready.

use std::ffi::OsString;
use std::time::Duration;

use errand_devstack::cargo::repository;
use errand_devstack::files::data_dir::DataDir;
use errand_devstack::files::pid_file;
use errand_devstack::packages::Found;
use errand_devstack::ports::{self, Ports};
use errand_devstack::process::supervisor::RestartPolicy;
use errand_devstack::programs::{Launcher, Programs};
use errand_devstack::services::{Services, Urls};
use errand_devstack::stack::Stack;
use errand_devstack::{Error, Result, print};

use crate::cli::UpArgs;

/// Starts everything. Returns the stack and the API's port.
pub(super) async fn start(
    args: &UpArgs,
    dir: &DataDir,
    found: Option<&Found>,
    external: Option<Urls>,
    programs: &Programs,
) -> Result<(Stack, u16)> {
    pid_file::stop_leftover(&dir.pid_dir()).await?;
    let mut ports = Ports::open(&dir.root().join("ports"))?;
    let api_port = api_port(args, &mut ports)?;
    let (services, urls) = match (external, found) {
        (Some(urls), _) => (None, urls),
        (None, Some(found)) => {
            print::line("Starting Postgres and Redis.");
            let services = Services::durable(found, dir, &mut ports).await?;
            let urls = services.urls();
            (Some(services), urls)
        }
        (None, None) => return Err(Error::Unusable("Postgres and Redis were not found".to_owned())),
    };
    let launcher = Launcher {
        dir: repository(),
        log_dir: dir.log_dir(),
        pid_dir: Some(dir.pid_dir()),
        urls,
        jwt_secret: dir.secret("jwt-secret")?,
        env: log_format(),
        inherits_env: true,
        ready_within: Duration::from_secs(args.ready_timeout),
        tied_to_us: true,
    };
    print::line("Migrating the database.");
    launcher.migrate(&programs.api).await?;
    let mut stack = Stack::new(services, RestartPolicy::Backoff, print::error_line);
    start_programs(args, &launcher, &mut ports, programs, &mut stack, api_port).await?;
    Ok((stack, api_port))
}

async fn start_programs(
    args: &UpArgs,
    launcher: &Launcher,
    ports: &mut Ports,
    programs: &Programs,
    stack: &mut Stack,
    api_port: u16,
) -> Result<()> {
    let mut model_port = None;
    if let Some(program) = &programs.model {
        print::line("Starting the demo model.");
        let port = ports.pick("model", Some(8088))?;
        stack.start_model(launcher.model("model", program, port)).await?;
        model_port = Some(port);
    }
    print::line(&format!(
        "Starting the API and {} worker{}.",
        args.workers,
        if args.workers == 1 { "" } else { "s" }
    ));
    let admin_port = ports.pick("api-admin", Some(9090))?;
    let api = launcher.api("api", &programs.api, api_port, admin_port);
    stack.start_program(api).await?;
    for number in 1..=args.workers {
        let name = format!("worker-{number}");
        let port = ports.pick(&name, Some(9090 + number))?;
        let worker = launcher.worker(&name, &programs.worker, port, model_port);
        stack.start_program(worker).await?;
    }
    Ok(())
}

fn api_port(args: &UpArgs, ports: &mut Ports) -> Result<u16> {
    match args.port {
        Some(port) if !ports::is_free(port) => Err(Error::InUse(format!(
            "port {port} on 127.0.0.1 is in use; choose another --port"
        ))),
        Some(port) => Ok(port),
        None => ports.pick("api", Some(8080)),
    }
}

/// The logs here are for people, unless `LOG_FORMAT` is set. Log files have no colours.
fn log_format() -> Vec<(OsString, OsString)> {
    let pair = |name, value| (OsString::from(name), OsString::from(value));
    let mut env = vec![pair("NO_COLOR", "1")];
    if std::env::var_os("LOG_FORMAT").is_none() {
        env.push(pair("LOG_FORMAT", "text"));
    }
    env
}
