//! Tests of the chat page and the admin page in Chromium, with the whole of Errand behind them.

#[cfg(test)]
mod admin;
#[cfg(test)]
mod admin_appearance;
#[cfg(test)]
mod appearance;
#[cfg(test)]
mod approval;
#[cfg(test)]
mod browser_test;
#[cfg(test)]
mod chat;
#[cfg(test)]
mod chromium;
#[cfg(test)]
mod errors;
#[cfg(test)]
mod injection;
#[cfg(test)]
mod interrupted;
#[cfg(test)]
mod keyboard;
#[cfg(test)]
mod page;
#[cfg(test)]
mod scrolling;
#[cfg(test)]
mod session;
#[cfg(test)]
mod several_devices;
#[cfg(test)]
mod tasks;
