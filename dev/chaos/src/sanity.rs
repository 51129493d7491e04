//! Whether the harness notices: rounds with a promise broken on purpose, each of which it must report.

use std::time::Duration;

use errand_shared::service::failpoints::Failpoint;

use crate::{
    Result,
    args::Round,
    kinds::Fault,
    round::{self, Plan},
    say::say,
};

/// A way to break a promise, and what must be reported.
struct Sabotage {
    name: &'static str,
    feature: Option<&'static str>,
    sql: Option<&'static str>,
    faults: &'static [Fault],
    twins: u32,
    must_report: &'static str,
}

const ALL: &[Sabotage] = &[
    Sabotage {
        name: "the lease token is not looked at",
        feature: Some("errand-worker/mutation-fence"),
        sql: None,
        faults: &[
            Fault::PauseAt(Failpoint::ToolsRequested),
            Fault::PauseAt(Failpoint::BeforeFinish),
            Fault::PauseAt(Failpoint::ToolsRequested),
            Fault::PauseAt(Failpoint::BeforeFinish),
        ],
        twins: 1,
        must_report: "a worker without the lease writes nothing",
    },
    Sabotage {
        name: "keys are not unique",
        feature: None,
        sql: Some("ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_pkey"),
        faults: &[Fault::RedisFlush, Fault::SessionsEnded],
        twins: 10,
        must_report: "one key, one run",
    },
    Sabotage {
        name: "nobody takes up what dead workers held",
        feature: Some("errand-worker/mutation-rescuer"),
        sql: None,
        faults: &[
            Fault::At(Failpoint::ToolsRequested),
            Fault::KillWorker,
            Fault::At(Failpoint::StepCommitted),
        ],
        twins: 1,
        must_report: "every run ends",
    },
];

/// Does all of them. True if each was found out.
pub(crate) async fn run(seed: u64, chats: Option<usize>, keep: bool) -> Result<bool> {
    let mut verdicts = Vec::new();
    for sabotage in ALL {
        say(&format!("\n== {}", sabotage.name));
        let plan = Plan {
            seed,
            round: Round::Short,
            faults: sabotage.faults.to_vec(),
            chats: chats.unwrap_or(300),
            patience: Duration::from_secs(25),
            keep,
            sabotage: sabotage.feature,
            sabotage_sql: sabotage.sql,
            twins: sabotage.twins,
        };
        let report = round::run(&plan).await?;
        report.show();
        let found = report
            .violations
            .iter()
            .filter(|violation| violation.what == sabotage.must_report)
            .count();
        verdicts.push((sabotage, found));
    }
    say("\n| sabotage | must be reported | reported |\n|---|---|---|");
    for (sabotage, found) in &verdicts {
        let reported = if *found == 0 {
            "NOT AT ALL".to_owned()
        } else {
            format!("{found} times")
        };
        say(&format!(
            "| {} | {} | {reported} |",
            sabotage.name, sabotage.must_report
        ));
    }
    Ok(verdicts.iter().all(|(_, found)| *found > 0))
}
