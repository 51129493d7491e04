//! The demo model as a user sees it, with the tools in memory, and its program.

#[cfg(test)]
mod chat;
#[cfg(test)]
mod dialogues;
#[cfg(test)]
mod phrases;
#[cfg(test)]
mod program;
