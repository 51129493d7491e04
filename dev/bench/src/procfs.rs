//! CPU time and memory of processes, from `/proc`.

use std::{collections::BTreeMap, fs, ops::Sub};

use serde::Serialize;

use crate::{Result, stack::Stack};

/// Milliseconds per clock tick in `/proc`: Linux always counts 100 ticks per second there (proc(5)).
const TICK_MS: u64 = 10;

/// CPU time and memory by kind of program.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Usage(BTreeMap<&'static str, Used>);

/// CPU time and memory of one kind of program.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Used {
    /// User and system time in milliseconds.
    pub(crate) cpu_ms: u64,
    /// Resident memory in MiB.
    pub(crate) resident_mib: u64,
}

impl Usage {
    /// The usage of one kind of program.
    pub(crate) fn of_kind(&self, kind: &str) -> Used {
        self.0.get(kind).copied().unwrap_or_default()
    }

    /// The usage of the stack's processes since their start.
    pub(crate) fn of(stack: &Stack) -> Result<Self> {
        let mut usage = BTreeMap::new();
        for (kind, pid) in stack.pids() {
            let used: &mut Used = usage.entry(kind).or_default();
            used.cpu_ms += cpu_ms(pid)?;
            used.resident_mib += resident_mib(pid)?;
            if kind == "postgres" {
                for child in children(pid)? {
                    used.cpu_ms += cpu_ms(child).unwrap_or_default();
                }
            }
        }
        Ok(Self(usage))
    }
}

impl Sub for Usage {
    type Output = Self;

    /// CPU time since `earlier`, and current memory.
    fn sub(mut self, earlier: Self) -> Self {
        for (kind, used) in &mut self.0 {
            if let Some(before) = earlier.0.get(kind) {
                used.cpu_ms = used.cpu_ms.saturating_sub(before.cpu_ms);
            }
        }
        self
    }
}

/// The CPU time of a process and of its children that were waited for. The fields follow the name, which may contain
/// spaces.
fn cpu_ms(pid: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').ok_or("unexpected format of /proc/…/stat")?;
    let ticks: u64 = fields
        .split_ascii_whitespace()
        .skip(11)
        .take(4)
        .map(|ticks| ticks.parse::<u64>().unwrap_or_default())
        .sum();
    Ok(ticks * TICK_MS)
}

fn resident_mib(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    Ok(kib.ok_or("unexpected format of /proc/…/status")? / 1024)
}

fn children(parent: u32) -> Result<Vec<u32>> {
    let list = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
    Ok(list
        .split_ascii_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect())
}
