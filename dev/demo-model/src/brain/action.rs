//! What a user may want done, as read from a message.

/// Something to do, or to say.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    /// Add these; none means that the user has not said what.
    Add(Vec<NewTask>),
    /// Show the list.
    List(Query),
    /// Show the page after the one shown last.
    More,
    /// Show single tasks with all they hold.
    Show(Target),
    /// Complete (`true`) or reopen.
    SetDone(Target, bool),
    /// Give another title.
    Rename(Target, Option<String>),
    /// Give another description; an empty one clears it.
    Describe(Target, Option<String>),
    /// Add to the description.
    Append(Target, String),
    /// Delete, once confirmed.
    Delete(Target),
    /// Delete: the user has confirmed.
    DeleteConfirmed(Vec<i64>),
    /// Take back what was done last.
    Undo,
    /// The user wants a change and has not said which.
    Change(Target),
    /// Only talk.
    Talk(Talk),
}

/// A task to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NewTask {
    pub(super) title: String,
    pub(super) description: Option<String>,
}

/// Which tasks to show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) completed: Option<bool>,
    pub(super) search: Option<String>,
    pub(super) limit: Option<i64>,
    pub(super) offset: Option<i64>,
}

/// Which tasks an action is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// Not said.
    Missing,
    /// These, each in its way.
    Refs(Vec<Ref>),
    /// All, or all that are completed or pending.
    All(Option<bool>),
}

/// A way to point at a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ref {
    /// Its number.
    Id(i64),
    /// Its place among those last shown: 1 is the first, -1 the last.
    Nth(i64),
    /// The one last spoken of.
    It,
    /// Those last spoken of.
    Them,
    /// Of two, not the one last spoken of.
    Other,
    /// Words of its title.
    Name(String),
}

impl Target {
    /// Whether it points at tasks by more than words that might be anything.
    pub(super) fn is_explicit(&self) -> bool {
        match self {
            Self::Missing => false,
            Self::All(_) => true,
            Self::Refs(refs) => refs.iter().any(|one| !matches!(one, Ref::Name(_))),
        }
    }
}

/// Talk that needs no tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Talk {
    Greeting,
    HowAreYou,
    Thanks,
    Bye,
    Who,
    Help,
    MyName,
    Praise,
    /// The user wants nothing done.
    Never,
    /// A yes that answers nothing.
    Yes,
    /// Not about tasks.
    OffTopic,
    /// The message may be a task to add.
    MaybeAdd,
    /// Not understood.
    Unclear,
    /// The user did not confirm.
    NotConfirmed,
    /// The question that stands is to be asked again.
    AskAgain,
}
