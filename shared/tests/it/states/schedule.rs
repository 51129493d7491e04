//! The actions of a schedule, and how random schedules are generated.

use errand_shared::domain::run::RunStatus;
use proptest::{collection::vec, option, prelude::*, sample::Index};

pub(super) const USERS: usize = 2;
pub(super) const WORKERS: usize = 3;

/// What happens to the process that executes an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Lives,
    /// It dies before its commit.
    DiesBefore,
    /// It dies after its commit, or does not get the answer: no worker knows the leases of its claim.
    DiesAfter,
}

/// Picks one of several things. None picks the latest.
pub(super) type Pick = Option<Index>;

/// A pick chooses among the things that exist when the action is executed, so leases are often stale and runs are often picked
/// again.
#[derive(Clone, Debug)]
pub(super) enum Action {
    Post {
        user: usize,
        place: Option<Pick>,
        key: Option<u8>,
        fate: Fate,
    },
    Claim {
        worker: usize,
        picks: Vec<Pick>,
        fate: Fate,
    },
    Step {
        lease: Pick,
        calls: u8,
        again: bool,
        fate: Fate,
    },
    /// Defers a step. For each call, whether it needs approval.
    Defer {
        lease: Pick,
        needs_approval: Vec<bool>,
        fate: Fate,
    },
    Start {
        lease: Pick,
        call: Pick,
    },
    RecordResult {
        lease: Pick,
        call: Pick,
        success: bool,
        fate: Fate,
    },
    Decide {
        user: usize,
        call: Pick,
        approve: bool,
        fate: Fate,
    },
    /// The rescuer queues runs whose approval expired.
    Expire,
    /// An hour passes for a run that awaits approval.
    HourPasses {
        run: Pick,
    },
    Finish {
        lease: Pick,
        status: RunStatus,
        last_step: bool,
        fate: Fate,
    },
    Release {
        lease: Pick,
        fault: bool,
    },
    ReleaseAll {
        worker: usize,
    },
    FallSilent {
        worker: usize,
    },
    Heartbeat {
        worker: usize,
    },
    FindStuckRuns,
    Rescue,
    RequestCancel {
        user: usize,
        run: Pick,
    },
    /// The API finishes a run that no worker executes.
    FinishUnclaimed {
        target: Pick,
    },
    Retry {
        user: usize,
        run: Pick,
    },
    Delete {
        user: usize,
        conversation: Pick,
    },
    BackOffEnds {
        run: Pick,
    },
    DeadlineEnds {
        run: Pick,
    },
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![4 => Just(Fate::Lives), 1 => Just(Fate::DiesBefore), 1 => Just(Fate::DiesAfter)]
}

/// The latest is the most likely.
fn index() -> impl Strategy<Value = Pick> {
    option::of(any::<Index>())
}

pub(super) fn action() -> impl Strategy<Value = Action> {
    let (user, worker, run, lease) = (0..USERS, 0..WORKERS, index(), index());
    prop_oneof![
        6 => (0..USERS, option::of(index()), option::weighted(0.3, 0_u8..3), fate())
            .prop_map(|(user, place, key, fate)| Action::Post { user, place, key, fate }),
        8 => (0..WORKERS, vec(index(), 1..4), fate())
            .prop_map(|(worker, picks, fate)| Action::Claim { worker, picks, fate }),
        4 => (index(), 0_u8..3, any::<bool>(), fate())
            .prop_map(|(lease, calls, again, fate)| Action::Step { lease, calls, again, fate }),
        4 => (index(), prop_oneof![Just(RunStatus::Succeeded), Just(RunStatus::Failed)], any::<bool>(), fate())
            .prop_map(|(lease, status, last_step, fate)| Action::Finish { lease, status, last_step, fate }),
        6 => (index(), vec(any::<bool>(), 1..4), fate())
            .prop_map(|(lease, needs_approval, fate)| Action::Defer { lease, needs_approval, fate }),
        4 => (index(), index()).prop_map(|(lease, call)| Action::Start { lease, call }),
        4 => (index(), index(), any::<bool>(), fate())
            .prop_map(|(lease, call, success, fate)| Action::RecordResult { lease, call, success, fate }),
        8 => (0..USERS, index(), any::<bool>(), fate())
            .prop_map(|(user, call, approve, fate)| Action::Decide { user, call, approve, fate }),
        2 => Just(Action::Expire),
        2 => index().prop_map(|run| Action::HourPasses { run }),
        2 => (lease, any::<bool>()).prop_map(|(lease, fault)| Action::Release { lease, fault }),
        1 => worker.clone().prop_map(|worker| Action::ReleaseAll { worker }),
        3 => worker.clone().prop_map(|worker| Action::FallSilent { worker }),
        1 => worker.prop_map(|worker| Action::Heartbeat { worker }),
        3 => Just(Action::FindStuckRuns),
        3 => Just(Action::Rescue),
        2 => (user.clone(), index()).prop_map(|(user, run)| Action::RequestCancel { user, run }),
        2 => index().prop_map(|target| Action::FinishUnclaimed { target }),
        3 => (user.clone(), index()).prop_map(|(user, run)| Action::Retry { user, run }),
        1 => (user, index()).prop_map(|(user, conversation)| Action::Delete { user, conversation }),
        1 => index().prop_map(|run| Action::BackOffEnds { run }),
        1 => run.prop_map(|run| Action::DeadlineEnds { run }),
    ]
}
