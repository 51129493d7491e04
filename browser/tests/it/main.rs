//! The chat page in Chromium, over the whole of Errand.

mod chat;
mod chromium;
mod devices;
mod injection;
mod interrupted;
mod keyboard;
mod looks;
mod page;
mod refusals;
mod session;
mod stage;
mod tasks;
