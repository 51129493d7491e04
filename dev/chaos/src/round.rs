//! One round: start, load, faults, settling, comparison.

use std::{sync::Arc, time::Duration};

use errand_devstack::print;
use rand::{SeedableRng, rngs::SmallRng};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    Result,
    args::Round,
    check,
    client::{Client, User},
    fault::Fault,
    inject::Injector,
    load::Load,
    record::Record,
    recovery,
    report::{Parts, Report},
    stack::Stack,
    stored_state::StoredState,
};

/// The users who chat, besides the one whose messages measure recovery.
const USERS: usize = 6;
/// How long the APIs may take until they are ready.
const READY_WITHIN: Duration = Duration::from_mins(1);
/// How long open runs may take to finish after the last message.
const SETTLED_WITHIN: Duration = Duration::from_mins(1);

/// What a round does.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) round: Round,
    pub(crate) faults: Vec<Fault>,
    /// The minimum number of messages.
    pub(crate) chats: usize,
    /// How long a client waits for anything.
    pub(crate) client_timeout: Duration,
    pub(crate) keep: bool,
    /// A cargo feature that breaks a guarantee.
    pub(crate) mutation_feature: Option<&'static str>,
    /// SQL that breaks a guarantee.
    pub(crate) mutation_sql: Option<&'static str>,
    /// The number of messages, of ten, that are sent through both APIs at the same time.
    pub(crate) twins: u32,
}

/// Runs a round.
pub(crate) async fn run(plan: &Plan) -> Result<Report> {
    print::line("building, and starting Postgres, Redis, the model, 2 APIs and 3 workers");
    let mut stack = Stack::start(plan.seed, plan.keep, plan.mutation_feature).await?;
    let record = Arc::new(Record::default());
    let client = Client::new(&stack.api_ports, Arc::clone(&record), plan.client_timeout);
    let (users, prober) = register_users(&client).await?;
    if let Some(sql) = plan.mutation_sql {
        stack.execute(sql).await?;
    }
    let began = Instant::now();
    let load = Load::start(&client, &users, plan.seed, plan.twins);
    let (recoveries, rescues) = inject_all(&stack, &client, &prober, plan).await?;
    while record.count() < plan.chats && began.elapsed() < Duration::from_hours(1) {
        sleep(Duration::from_millis(200)).await;
    }
    print::line("settling");
    if !load.stop(plan.client_timeout * 2).await {
        record.violation("every client receives its answers", "some are still waiting");
    }
    settle(&stack).await?;
    let took = began.elapsed();
    let state = StoredState::read(&stack).await?;
    check::check(&state, &record);
    let effects = stack.mcp_server.effects();
    let keys: Vec<_> = effects.into_iter().map(|effect| effect.key).collect();
    check::mcp_effects(&keys, &record);
    let (is_verified, output) = stack.verify().await?;
    if !is_verified {
        record.violation("errand-api verify finds no inconsistency", output);
    }
    stack.stop_programs().await;
    check_programs(&stack, &record);
    let restarts = stack
        .programs()
        .map(|program| program.starts().saturating_sub(1))
        .sum();
    let parts = Parts {
        seed: plan.seed,
        took,
        recoveries,
        rescues,
        restarts,
        is_verified,
        record: &record,
    };
    let report = Report::new(parts, &state);
    stack.stop().await?;
    Ok(report)
}

/// Waits until both APIs are ready and registers the users.
async fn register_users(client: &Client) -> Result<(Vec<User>, User)> {
    timeout(READY_WITHIN, async {
        while !(client.is_ready(0).await && client.is_ready(1).await) {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await?;
    let mut users = Vec::new();
    for number in 0..USERS {
        users.push(client.register(number).await?);
    }
    Ok((users, client.register(USERS).await?))
}

/// Injects the faults one after the other. Returns the recovery time of each, and the times until the runs of killed
/// workers were rescued.
async fn inject_all(
    stack: &Stack,
    client: &Client,
    prober: &User,
    plan: &Plan,
) -> Result<(Vec<(String, Duration)>, Vec<Duration>)> {
    // The first messages must be answered before the first fault.
    recovery::measure(client, prober, "the start", Instant::now()).await;
    let mut injector = Injector {
        stack,
        client,
        user: prober,
        round: plan.round,
        rng: SmallRng::seed_from_u64(plan.seed),
        killed: None,
    };
    let (mut recoveries, mut rescues) = (Vec::new(), Vec::new());
    for (number, fault) in plan.faults.iter().enumerate() {
        let began = Instant::now();
        let name = fault.name();
        let ended = injector
            .inject(*fault)
            .await
            .map_err(|error| format!("{name}: {error}"))?;
        let recovery = recovery::measure(client, prober, &name, ended).await;
        print::line(&format!(
            "{:3} of {}: {name} {:.1?}, answered after {recovery:.2?}",
            number + 1,
            plan.faults.len(),
            ended - began
        ));
        recoveries.push((name, recovery));
        if let Some(took) = injector.rescue_time().await? {
            print::line(&format!(
                "            the killed worker's runs were rescued after {took:.1?}"
            ));
            rescues.push(took);
        }
    }
    Ok((recoveries, rescues))
}

/// Waits until no run is open. The comparison finds runs that are open even then.
async fn settle(stack: &Stack) -> Result<()> {
    let began = Instant::now();
    let open = "SELECT 1 FROM runs WHERE status IN ('queued', 'running', 'waiting_approval') LIMIT 1";
    while !stack.rows(open).await?.is_empty() && began.elapsed() < SETTLED_WITHIN {
        sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

fn check_programs(stack: &Stack, record: &Record) {
    for program in stack.programs() {
        for exit in program.unexpected_exits() {
            record.violation("a program exits with code 0 or is killed by a fault", exit);
        }
        let log = program.log();
        for line in log.lines().filter(|line| line.contains("panicked at")) {
            record.violation("no program panics", format!("{}: {line}", program.name()));
        }
    }
}
