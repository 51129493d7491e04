//! The statements of `storage`, each test on a database of its own.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod claims;
#[cfg(test)]
mod constraints;
#[cfg(test)]
mod deferred_steps;
#[cfg(test)]
mod finish;
#[cfg(test)]
mod group_commit;
#[cfg(test)]
mod leases;
#[cfg(test)]
mod posts;
#[cfg(test)]
mod single_row;
#[cfg(test)]
mod states;
#[cfg(test)]
mod steps;
#[cfg(test)]
mod stuck_runs;
#[cfg(test)]
mod test_db;
