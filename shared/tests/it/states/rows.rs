//! Compares the rows, as text, with the model.

use super::{
    harness::Harness,
    model::{Run, Time},
};

/// Everything that the model describes, as text.
const ROWS: &str = r#"
    SELECT line COLLATE "C" FROM (
        SELECT concat_ws(' ', 'run', id, status, seq, attempt, failures, rescues, epoch,
            coalesce(lease_token::text, '-'), coalesce(worker_id::text, '-'), coalesce(final_event_seq::text, '-'),
            cancel_requested_at IS NOT NULL,
            CASE WHEN deadline_at IS NULL AND time_left IS NULL THEN 'not-started'
                WHEN deadline_at IS NULL THEN CASE WHEN time_left > '0' THEN 'suspended' ELSE 'suspended-late' END
                WHEN time_left IS NULL THEN CASE WHEN deadline_at > now() THEN 'runs' ELSE 'runs-late' END END,
            (SELECT count(*) FROM steps s WHERE s.run_id = r.id),
            (SELECT count(*) FROM tool_calls k WHERE k.run_id = r.id), prompt_tokens) AS line
        FROM runs r
        UNION ALL SELECT concat_ws(' ', 'pending', run_id, step, call_index, expires_at IS NOT NULL,
            coalesce(approved::text, '-'), started_at IS NOT NULL) FROM asked_calls
        UNION ALL SELECT concat_ws(' ', 'made without approval', a.run_id, a.step, a.call_index) FROM asked_calls a
            LEFT JOIN tool_calls k ON (k.run_id, k.step, k.call_index) = (a.run_id, a.step, a.call_index)
            WHERE a.expires_at IS NOT NULL AND a.approved IS NOT TRUE AND (a.started_at IS NOT NULL OR k.success)
        UNION ALL SELECT concat_ws(' ', 'conversation', id, last_seq) FROM conversations
        UNION ALL SELECT concat_ws(' ', 'message', conversation_id, seq, run_id, role) FROM messages
        UNION ALL SELECT concat_ws(' ', 'tasks', id, (SELECT count(*) FROM tasks t WHERE t.user_id = u.id)) FROM users u
    ) rows ORDER BY 1
"#;

fn or_none(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Formats a boolean as Postgres does.
const fn flag(value: bool) -> &'static str {
    if value { "t" } else { "f" }
}

impl Harness<'_> {
    pub(super) async fn compare(&self) {
        self.model.check_invariants();
        let mut expected: Vec<_> = (0..self.runs.len())
            .filter(|run| !self.model.runs[*run].deleted)
            .map(|run| self.row(run))
            .collect();
        for (number, conversation) in self.model.conversations.iter().enumerate() {
            if !conversation.deleted {
                let id = self.conversations[number];
                expected.push(format!("conversation {id} {}", conversation.last_seq));
                expected.extend(
                    conversation
                        .messages
                        .iter()
                        .map(|(seq, run, role)| format!("message {id} {seq} {} {role}", self.runs[*run])),
                );
            }
        }
        for (number, user) in self.users.iter().enumerate() {
            // The effects of a deleted run remain.
            let made: i64 = self
                .model
                .runs
                .iter()
                .filter(|run| run.user == number)
                .map(|run| run.made)
                .sum();
            expected.push(format!("tasks {user} {made}"));
        }
        for ask in self
            .model
            .asked
            .iter()
            .filter(|ask| !self.model.runs[ask.run].deleted)
        {
            expected.push(format!(
                "pending {} {} {} {} {} {}",
                self.runs[ask.run],
                ask.step,
                ask.index,
                flag(ask.needs_approval),
                or_none(ask.approved),
                flag(ask.started)
            ));
        }
        expected.sort();
        assert_eq!(self.db.database.texts(ROWS).await, expected);
        let mut ready = crate::test_db::ready(self.db.pool(), 1000).await;
        ready.sort();
        let expected = (0..self.runs.len()).filter(|run| self.model.is_ready(*run));
        assert_eq!(ready, self.ids(expected), "the ready runs");
    }

    fn row(&self, number: usize) -> String {
        let Run {
            status,
            attempt,
            failures,
            rescues,
            epoch,
            seq,
            steps,
            calls,
            tokens,
            ..
        } = &self.model.runs[number];
        let run = &self.model.runs[number];
        let time = match (run.time, run.late) {
            (Time::NotStarted, _) => "not-started",
            (Time::Runs, false) => "runs",
            (Time::Runs, true) => "runs-late",
            (Time::Suspended, false) => "suspended",
            (Time::Suspended, true) => "suspended-late",
        };
        format!(
            "run {} {} {seq} {attempt} {failures} {rescues} {epoch} {} {} {} {} {time} {steps} {calls} {tokens}",
            self.runs[number],
            status.as_str(),
            or_none(run.lease.map(|lease| self.leases[lease].token)),
            or_none(run.worker.map(|worker| self.workers[worker])),
            or_none(run.final_seq),
            flag(run.cancel),
        )
    }
}
