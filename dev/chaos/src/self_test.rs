//! Tests the harness itself: rounds with a guarantee broken on purpose, each of which must be reported.

use std::time::Duration;

use errand_devstack::print;

use crate::{
    Result,
    args::Round,
    failpoint::{BEFORE_FINISH, STEP_COMMITTED, TOOLS_REQUESTED},
    fault::Fault,
    round::{self, Plan},
};

/// A way to break a guarantee, and the violation that must be reported.
struct Mutation {
    name: &'static str,
    feature: Option<&'static str>,
    sql: Option<&'static str>,
    faults: &'static [Fault],
    twins: u32,
    must_report: &'static str,
}

const MUTATIONS: &[Mutation] = &[
    Mutation {
        name: "the lease token is not checked",
        feature: Some("errand-worker/mutation-fence"),
        sql: None,
        faults: &[
            Fault::PauseAt(TOOLS_REQUESTED),
            Fault::PauseAt(BEFORE_FINISH),
            Fault::PauseAt(TOOLS_REQUESTED),
            Fault::PauseAt(BEFORE_FINISH),
        ],
        twins: 1,
        must_report: "only the worker with the lease writes",
    },
    Mutation {
        name: "idempotency keys are not unique",
        feature: None,
        sql: Some("ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_pkey"),
        faults: &[Fault::RedisFlush, Fault::SessionsEnded],
        twins: 10,
        must_report: "an idempotency key has one run",
    },
    Mutation {
        name: "the runs of dead workers are not rescued",
        feature: Some("errand-worker/mutation-rescuer"),
        sql: None,
        faults: &[
            Fault::KillAt(TOOLS_REQUESTED),
            Fault::KillWorker,
            Fault::KillAt(STEP_COMMITTED),
        ],
        twins: 1,
        must_report: "every run finishes",
    },
];

/// Runs a round for each mutation. Returns whether each was detected.
pub(crate) async fn run(seed: u64, chats: Option<usize>, keep: bool) -> Result<bool> {
    let mut results = Vec::new();
    for mutation in MUTATIONS {
        print::line(&format!("\n== {}", mutation.name));
        let plan = Plan {
            seed,
            round: Round::Short,
            faults: mutation.faults.to_vec(),
            chats: chats.unwrap_or(300),
            client_timeout: Duration::from_secs(25),
            keep,
            mutation_feature: mutation.feature,
            mutation_sql: mutation.sql,
            twins: mutation.twins,
        };
        let report = round::run(&plan).await?;
        report.show();
        let reported = report
            .violations
            .iter()
            .filter(|violation| violation.guarantee == mutation.must_report)
            .count();
        results.push((mutation, reported));
    }
    print::line("\n| mutation | expected violation | reported |\n|---|---|---|");
    for (mutation, reported) in &results {
        let reported = if *reported == 0 {
            "NEVER".to_owned()
        } else {
            format!("{reported} times")
        };
        print::line(&format!(
            "| {} | {} | {reported} |",
            mutation.name, mutation.must_report
        ));
    }
    Ok(results.iter().all(|(_, reported)| *reported > 0))
}
