//! What anybody may do to a run, and how schedules of it are drawn.

use errand_shared::domain::run::RunStatus;
use proptest::{collection::vec, option, prelude::*, sample::Index};

pub(super) const USERS: usize = 2;
pub(super) const WORKERS: usize = 3;

/// What becomes of whoever acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Lives,
    /// Gone before its commit.
    DiesBefore,
    /// Gone, or without an answer, after its commit: what a claim has taken is nobody's.
    DiesAfter,
}

/// One of several: none is the latest.
pub(super) type Pick = Option<Index>;

/// Picks are made among what there is by then, so that leases are stale and hints repeated more often than not.
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
        hints: Vec<Pick>,
        fate: Fate,
    },
    Step {
        lease: Pick,
        calls: u8,
        again: bool,
        fate: Fate,
    },
    /// A step that is journalled before its calls are made; of each call whether it needs consent.
    Open {
        lease: Pick,
        needs_consent: Vec<bool>,
        fate: Fate,
    },
    Start {
        lease: Pick,
        call: Pick,
    },
    Answer {
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
    /// The rescuer looks after parked runs.
    Expire,
    /// A parked run has waited for an hour.
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
    Vanish {
        worker: usize,
    },
    Beat {
        worker: usize,
    },
    Look,
    Settle,
    RequestCancel {
        user: usize,
        run: Pick,
    },
    EndUnheld {
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

/// The latest is the likeliest.
fn index() -> impl Strategy<Value = Pick> {
    option::of(any::<Index>())
}

pub(super) fn action() -> impl Strategy<Value = Action> {
    let (user, worker, run, lease) = (0..USERS, 0..WORKERS, index(), index());
    prop_oneof![
        6 => (0..USERS, option::of(index()), option::weighted(0.3, 0_u8..3), fate())
            .prop_map(|(user, place, key, fate)| Action::Post { user, place, key, fate }),
        8 => (0..WORKERS, vec(index(), 1..4), fate())
            .prop_map(|(worker, hints, fate)| Action::Claim { worker, hints, fate }),
        4 => (index(), 0_u8..3, any::<bool>(), fate())
            .prop_map(|(lease, calls, again, fate)| Action::Step { lease, calls, again, fate }),
        4 => (index(), prop_oneof![Just(RunStatus::Succeeded), Just(RunStatus::Failed)], any::<bool>(), fate())
            .prop_map(|(lease, status, last_step, fate)| Action::Finish { lease, status, last_step, fate }),
        6 => (index(), vec(any::<bool>(), 1..4), fate())
            .prop_map(|(lease, needs_consent, fate)| Action::Open { lease, needs_consent, fate }),
        4 => (index(), index()).prop_map(|(lease, call)| Action::Start { lease, call }),
        4 => (index(), index(), any::<bool>(), fate())
            .prop_map(|(lease, call, success, fate)| Action::Answer { lease, call, success, fate }),
        8 => (0..USERS, index(), any::<bool>(), fate())
            .prop_map(|(user, call, approve, fate)| Action::Decide { user, call, approve, fate }),
        2 => Just(Action::Expire),
        2 => index().prop_map(|run| Action::HourPasses { run }),
        2 => (lease, any::<bool>()).prop_map(|(lease, fault)| Action::Release { lease, fault }),
        1 => worker.clone().prop_map(|worker| Action::ReleaseAll { worker }),
        3 => worker.clone().prop_map(|worker| Action::Vanish { worker }),
        1 => worker.prop_map(|worker| Action::Beat { worker }),
        3 => Just(Action::Look),
        3 => Just(Action::Settle),
        2 => (user.clone(), index()).prop_map(|(user, run)| Action::RequestCancel { user, run }),
        2 => index().prop_map(|target| Action::EndUnheld { target }),
        3 => (user.clone(), index()).prop_map(|(user, run)| Action::Retry { user, run }),
        1 => (user, index()).prop_map(|(user, conversation)| Action::Delete { user, conversation }),
        1 => index().prop_map(|run| Action::BackOffEnds { run }),
        1 => run.prop_map(|run| Action::DeadlineEnds { run }),
    ]
}
