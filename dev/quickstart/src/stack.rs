//! `stack`: runs one command, such as a load test, with a temporary stack, and checks the stored data afterwards.
//!
//! Postgres flushes its commits to disk, and the API has no rate limits. With `--scale`, workers are added and stopped
//! during the test.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use errand_devstack::cargo::repository;
use errand_devstack::files::secret::Secret;
use errand_devstack::files::temp_dir::TempDir;
use errand_devstack::packages::{Places, find_or_install};
use errand_devstack::ports::any_free;
use errand_devstack::process::foreground::{self, exit_code};
use errand_devstack::process::signals::Signals;
use errand_devstack::process::supervisor::{RestartPolicy, Supervisor};
use errand_devstack::programs::{Launcher, Program, Programs};
use errand_devstack::services::Services;
use errand_devstack::stack::Stack;
use errand_devstack::{Error, Result, print};
use tokio::process::Command;

use crate::cli::StackArgs;

/// How long a program may take until it is ready.
const READY_WITHIN: Duration = Duration::from_mins(2);

/// How long an added worker may take to stop.
const STOP_GRACE: Duration = Duration::from_secs(35);

/// Runs of one worker at the same time, unless `WORKER_CONCURRENCY` is set: more than any load test has.
const CONCURRENCY: &str = "12000";

/// Runs the subcommand.
pub(crate) async fn run(args: StackArgs) -> Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let found = find_or_install(&Places::of_this_machine(), true)?;
    fs::create_dir_all(&args.log_dir).map_err(Error::path("create", &args.log_dir))?;
    let log_dir = std::path::absolute(&args.log_dir).map_err(Error::path("find", &args.log_dir))?;
    let built = Programs::build(args.profile.into(), true, &[]);
    let programs = signals.unless(built).await?;
    // Declared before the stack, so that it is removed after the stack has stopped.
    let data = TempDir::for_services()?;
    let services = signals
        .unless(Services::in_dir(&found, data.path(), true))
        .await?;
    let launcher = Launcher {
        dir: repository(),
        log_dir: log_dir.clone(),
        pid_dir: None,
        urls: services.urls(),
        jwt_secret: Secret::random(32)?,
        env: Vec::new(),
        inherits_env: true,
        ready_within: READY_WITHIN,
        tied_to_us: true,
    };
    let mut stack = Stack::new(Some(services), RestartPolicy::Never, print::error_line);
    let starting = start(&mut stack, &launcher, &programs, &args.model_latency);
    let ports = signals.unless(starting).await?;
    let tested = test(&args, &mut stack, &launcher, &programs, ports, &mut signals).await;
    let verified = match &tested {
        Ok(_) => verify(&launcher, &programs.api, &log_dir).await,
        Err(_) => Ok(true),
    };
    stack.stop().await?;
    let status = tested?;
    if !verified? {
        return Ok(ExitCode::FAILURE);
    }
    Ok(exit_code(status))
}

#[derive(Debug, Clone, Copy)]
struct StackPorts {
    api: u16,
    model: u16,
}

async fn start(
    stack: &mut Stack,
    launcher: &Launcher,
    programs: &Programs,
    model_latency: &str,
) -> Result<StackPorts> {
    let ports = StackPorts {
        api: any_free()?,
        model: any_free()?,
    };
    if let Some(program) = &programs.model {
        let model = launcher
            .model("model", program, ports.model)
            .arg("--latency")
            .arg(model_latency)
            .arg("--record")
            .arg("0");
        stack.start_model(model).await?;
    }
    let api = launcher
        .api("api", &programs.api, ports.api, any_free()?)
        .without_limits();
    stack.start_program(api).await?;
    stack
        .start_program(worker(launcher, programs, 1, ports.model)?)
        .await?;
    Ok(ports)
}

fn worker(launcher: &Launcher, programs: &Programs, number: u16, model: u16) -> Result<Program> {
    let name = format!("worker-{number}");
    let concurrency = std::env::var_os("WORKER_CONCURRENCY").unwrap_or_else(|| OsString::from(CONCURRENCY));
    let program = launcher.worker(&name, &programs.worker, any_free()?, Some(model));
    Ok(program.env("WORKER_CONCURRENCY", concurrency))
}

/// Runs the command, while workers come and go.
async fn test(
    args: &StackArgs,
    stack: &mut Stack,
    launcher: &Launcher,
    programs: &Programs,
    ports: StackPorts,
    signals: &mut Signals,
) -> Result<ExitStatus> {
    let [program, arguments @ ..] = args.command.as_slice() else {
        return Err(Error::Unusable("no command was given".to_owned()));
    };
    let mut env = launcher.urls.env();
    env.push((
        OsString::from("BASE_URL"),
        OsString::from(format!("http://127.0.0.1:{}", ports.api)),
    ));
    let mut command = Command::new(program);
    let name = program.to_string_lossy().into_owned();
    let running = foreground::run(&name, command.args(arguments), &env, signals);
    let scaling = scale(args, launcher, programs, ports.model);
    tokio::pin!(running, scaling);
    let mut is_scaled = false;
    let status = loop {
        tokio::select! {
            status = &mut running => break status?,
            result = &mut scaling, if !is_scaled => {
                result?;
                is_scaled = true;
            }
            error = stack.watch() => return Err(error),
        }
    };
    if !is_scaled && status.success() {
        scaling.await?;
    }
    Ok(status)
}

/// Adds workers after a third of the time and stops them after two thirds. Each must exit with code 0.
async fn scale(args: &StackArgs, launcher: &Launcher, programs: &Programs, model: u16) -> Result<()> {
    if args.scale < 2 {
        return Ok(());
    }
    let third = Duration::from_secs(args.scale_seconds) / 3;
    tokio::time::sleep(third).await;
    let mut supervisor = Supervisor::new(RestartPolicy::Never, STOP_GRACE, print::error_line);
    let mut added = Vec::new();
    for number in 2..=args.scale {
        let program = worker(launcher, programs, number, model)?;
        added.push(supervisor.start(program).await?);
    }
    print::line(&format!("{} workers.", args.scale));
    tokio::time::sleep(third).await;
    supervisor.stop().await?;
    for worker in added {
        if !worker.errors().is_empty() || worker.exits().iter().any(|status| !status.success()) {
            let message = format!(
                "{} did not stop with exit code 0: {:?}",
                worker.name(),
                worker.exits()
            );
            return Err(Error::Unusable(message));
        }
    }
    print::line("One worker again.");
    Ok(())
}

/// Whether the stored data is consistent. The result is also in `verify.txt`.
async fn verify(launcher: &Launcher, api: &Path, log_dir: &Path) -> Result<bool> {
    let (holds, output) = match launcher.run_api(api, &["verify", "--settled"]).await {
        Ok(output) => (true, output),
        Err(Error::CommandFailed { message, .. }) => (false, message),
        Err(error) => return Err(error),
    };
    let file = log_dir.join("verify.txt");
    fs::write(&file, &output).map_err(Error::path("write", &file))?;
    if !holds {
        print::error_line(&output);
    }
    Ok(holds)
}
