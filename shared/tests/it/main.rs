//! The SQL that everything else stands on, on a database a test: see each file's name.

#[cfg(test)]
mod book;
#[cfg(test)]
mod checks;
#[cfg(test)]
mod claims;
#[cfg(test)]
mod finishes;
#[cfg(test)]
mod group;
#[cfg(test)]
mod leases;
#[cfg(test)]
mod lone;
#[cfg(test)]
mod open_steps;
#[cfg(test)]
mod posts;
#[cfg(test)]
mod states;
#[cfg(test)]
mod steps;
#[cfg(test)]
mod strays;
#[cfg(test)]
mod verify;
