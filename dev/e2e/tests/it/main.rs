//! The pages in Chromium, over the whole of Errand.

#[cfg(test)]
mod admin;
#[cfg(test)]
mod admin_looks;
#[cfg(test)]
mod approval;
#[cfg(test)]
mod chat;
#[cfg(test)]
mod chromium;
#[cfg(test)]
mod devices;
#[cfg(test)]
mod injection;
#[cfg(test)]
mod interrupted;
#[cfg(test)]
mod keyboard;
#[cfg(test)]
mod looks;
#[cfg(test)]
mod page;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod session;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod tasks;
