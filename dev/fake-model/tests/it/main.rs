//! The server as its clients see it, over HTTP.

#[cfg(test)]
mod async_openai;
#[cfg(test)]
mod behaviours;
#[cfg(test)]
mod client;
#[cfg(test)]
mod protocol;
#[cfg(test)]
mod validation;
