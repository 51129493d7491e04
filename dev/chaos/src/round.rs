//! One round: start, load, faults, settling, comparison.

use std::{sync::Arc, time::Duration};

use errand_shared::service::lifecycle::Lifecycle;
use rand::{SeedableRng, rngs::SmallRng};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    Result,
    args::Round,
    book::Book,
    check,
    client::{Client, User},
    inject::Injector,
    kinds::Fault,
    load, probe,
    record::Record,
    report::{Parts, Report},
    say::say,
    stack::Stack,
};

/// Users beside the one whose messages measure recovery.
const USERS: usize = 6;
/// How long everything may take until it is up.
const UP_WITHIN: Duration = Duration::from_mins(1);
/// How long open runs may take to end once nobody sends any more.
const SETTLED_WITHIN: Duration = Duration::from_mins(1);

/// What a round does.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) round: Round,
    pub(crate) faults: Vec<Fault>,
    /// Messages, at least.
    pub(crate) chats: usize,
    /// How long a client waits for anything.
    pub(crate) patience: Duration,
    pub(crate) keep: bool,
    /// A feature of the worker that breaks a promise.
    pub(crate) sabotage: Option<&'static str>,
    /// SQL that breaks a promise.
    pub(crate) sabotage_sql: Option<&'static str>,
    /// Of ten messages so many go through both APIs at once.
    pub(crate) twins: u32,
}

/// Does a round.
pub(crate) async fn run(plan: &Plan) -> Result<Report> {
    say("building, and starting Postgres, Redis, the model, 2 APIs and 3 workers");
    let stack = Stack::start(plan.seed, plan.keep, plan.sabotage).await?;
    let record = Arc::new(Record::default());
    let client = Client::new(stack.api_urls.clone(), Arc::clone(&record), plan.patience)?;
    let (users, prober) = up(&client).await?;
    if let Some(sql) = plan.sabotage_sql {
        stack.execute(sql).await?;
    }
    let began = Instant::now();
    let loading = Lifecycle::new();
    load::start(&client, &users, plan.seed, plan.twins, &loading);
    let (recoveries, takeovers) = all_faults(&stack, &client, &prober, plan).await?;
    while record.count() < plan.chats && began.elapsed() < Duration::from_hours(1) {
        sleep(Duration::from_millis(200)).await;
    }
    say("settling");
    loading.stop();
    if !loading.drained(plan.patience * 2).await {
        record.broken("every client gets its answers", "some wait for ever");
    }
    settle(&stack).await?;
    let took = began.elapsed();
    let book = Book::read(&stack).await?;
    check::check(&book, &record);
    let effects = stack.shop.effects();
    let keys: Vec<_> = effects.into_iter().map(|effect| effect.key).collect();
    check::elsewhere(&keys, &record);
    let verified = verify(&stack, &record).await?;
    stack.end_programs().await;
    programs(&stack, &record);
    let restarts = stack
        .programs()
        .map(|program| program.starts().saturating_sub(1))
        .sum();
    let parts = Parts {
        seed: plan.seed,
        took,
        recoveries,
        takeovers,
        restarts,
        verified,
        record: &record,
    };
    let report = Report::new(parts, &book);
    stack.stop().await?;
    Ok(report)
}

/// Waits until both APIs are ready, and makes the users.
async fn up(client: &Client) -> Result<(Vec<User>, User)> {
    timeout(UP_WITHIN, async {
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

async fn all_faults(
    stack: &Stack,
    client: &Client,
    prober: &User,
    plan: &Plan,
) -> Result<(Vec<(String, Duration)>, Vec<Duration>)> {
    // The first messages are answered before anything breaks.
    probe::recovery(client, prober, "the start", Instant::now()).await;
    let mut injector = Injector {
        stack,
        client,
        user: prober,
        round: plan.round,
        dice: SmallRng::seed_from_u64(plan.seed),
        dead: None,
    };
    let (mut recoveries, mut takeovers) = (Vec::new(), Vec::new());
    for (number, fault) in plan.faults.iter().enumerate() {
        let began = Instant::now();
        let ended = injector
            .inject(*fault)
            .await
            .map_err(|error| format!("{}: {error}", fault.name()))?;
        let recovery = probe::recovery(client, prober, &fault.name(), ended).await;
        let name = fault.name();
        say(&format!(
            "{:3} of {}: {name} {:.1?}, answered after {recovery:.2?}",
            number + 1,
            plan.faults.len(),
            ended - began
        ));
        recoveries.push((name, recovery));
        if let Some(took) = injector.taken_up().await? {
            say(&format!(
                "            the dead worker's runs were taken up after {took:.1?}"
            ));
            takeovers.push(took);
        }
    }
    Ok((recoveries, takeovers))
}

/// Waits until no run is open; what still is after that time is found by the comparison.
async fn settle(stack: &Stack) -> Result<()> {
    let began = Instant::now();
    let open = "SELECT 1 FROM runs WHERE status IN ('queued', 'running', 'waiting_approval') LIMIT 1";
    while !stack.rows(open).await?.is_empty() && began.elapsed() < SETTLED_WITHIN {
        sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// Errand's own check.
async fn verify(stack: &Stack, record: &Record) -> Result<Option<bool>> {
    let Some((holds, said)) = stack.verify().await? else {
        return Ok(None);
    };
    if !holds {
        record.broken("errand-api verify finds all in order", said);
    }
    Ok(Some(holds))
}

/// How the programs themselves fared.
fn programs(stack: &Stack, record: &Record) {
    for program in stack.programs() {
        for end in program.strange_ends() {
            record.broken("a program ends with 0, or killed", end);
        }
        let log = program.log();
        for line in log.lines().filter(|line| line.contains("panicked at")) {
            record.broken("no program panics", format!("{}: {line}", program.name()));
        }
    }
}
