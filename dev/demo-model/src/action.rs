//! The actions that a message can request.

/// A requested action.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// Add tasks. Empty if the user gave no title.
    Add(Vec<NewTask>),
    /// List tasks.
    List(Query),
    /// List the next page.
    More,
    /// Show tasks with their descriptions.
    Show(Target),
    /// Complete (`true`) or reopen (`false`).
    SetDone(Target, bool),
    /// Change the title. `None` if the user gave no new title.
    Rename(Target, Option<String>),
    /// Change the description. An empty text clears it; `None` if the user gave none.
    Describe(Target, Option<String>),
    /// Append to the description.
    Append(Target, String),
    /// Delete after confirmation.
    Delete(Target),
    /// Delete: the user has confirmed it.
    DeleteConfirmed(Vec<i64>),
    /// Undo the last change.
    Undo,
    /// Change a task in an unspecified way.
    Change(Target),
    /// Reply without calling a tool.
    SmallTalk(SmallTalk),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewTask {
    pub(crate) title: String,
    pub(crate) description: Option<String>,
}

/// Filters of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) completed: Option<bool>,
    pub(crate) search: Option<String>,
    pub(crate) limit: Option<i64>,
    pub(crate) offset: Option<i64>,
}

/// The tasks that an action applies to, as the user described them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// Not specified.
    Missing,
    /// Individual tasks.
    Refs(Vec<Ref>),
    /// All tasks, all completed ones (`true`) or all pending ones (`false`).
    All(Option<bool>),
}

/// A reference to one task or, for `Them`, several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ref {
    /// The task's number.
    Id(i64),
    /// The position in the list shown last. 1 is the first task, -1 the last.
    Nth(i64),
    /// The task mentioned last.
    It,
    /// The tasks mentioned last.
    Them,
    /// "The other one": of two tasks shown, the one not mentioned last.
    Other,
    /// Words from the title.
    Name(String),
}

impl Target {
    /// Whether it identifies tasks by more than words, which could be part of a new title.
    pub(crate) fn is_explicit(&self) -> bool {
        match self {
            Self::Missing => false,
            Self::All(_) => true,
            Self::Refs(refs) => refs.iter().any(|reference| !matches!(reference, Ref::Name(_))),
        }
    }
}

/// A message that needs no tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SmallTalk {
    Greeting,
    HowAreYou,
    Thanks,
    Bye,
    WhoAreYou,
    Help,
    MyName,
    Praise,
    /// The user cancels.
    NeverMind,
    /// A "yes" although no question was asked.
    Yes,
    OffTopic,
    /// Probably a task to add; ask first.
    MaybeAdd,
    Unclear,
    /// The user declined a deletion.
    NotConfirmed,
    /// Repeat the previous question.
    AskAgain,
}
