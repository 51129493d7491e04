//! The worker over real services: see each file's name.

#[cfg(test)]
mod agents;
#[cfg(test)]
mod answers;
#[cfg(test)]
mod approvals;
#[cfg(test)]
mod approvals_live;
#[cfg(test)]
mod cancel;
#[cfg(test)]
mod check_model;
#[cfg(test)]
mod context_window;
#[cfg(test)]
mod control;
#[cfg(test)]
mod events;
#[cfg(test)]
mod fairness;
#[cfg(test)]
mod fallback;
#[cfg(test)]
mod idle;
#[cfg(test)]
mod limit;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod mcp;
#[cfg(test)]
mod mcp_crash;
#[cfg(test)]
mod mcp_oddities;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod overlap;
#[cfg(test)]
mod provider_data;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod queue_faults;
#[cfg(test)]
mod rescue;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod shutdown;
#[cfg(test)]
mod storm;
#[cfg(test)]
mod tools;
#[cfg(test)]
mod workers;
