//! The server as its callers see it, over HTTP; and the brain as a user sees it, with tools that are pretended.

#[cfg(test)]
mod behaviours;
#[cfg(test)]
mod client;
#[cfg(test)]
mod dialogues;
#[cfg(test)]
mod phrases;
#[cfg(test)]
mod pretended;
#[cfg(test)]
mod program;
#[cfg(test)]
mod protocol;
#[cfg(test)]
mod validation;
