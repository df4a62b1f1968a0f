//! Which CPU a process runs on, and what it has used: from /proc.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};

use anyhow::Context;

/// Where server and load generator run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum SetUp {
    /// The server, with one worker, on CPU 0; load and origin on CPU 1.
    Pinned,
    /// Two workers; nothing is pinned.
    Whole,
}

impl SetUp {
    pub(crate) fn workers(self) -> usize {
        match self {
            Self::Pinned => 1,
            Self::Whole => 2,
        }
    }

    pub(crate) fn server(self, program: &str) -> Command {
        self.on("0", program)
    }

    pub(crate) fn client(self, program: &str) -> Command {
        self.on("1", program)
    }

    fn on(self, cpu: &str, program: &str) -> Command {
        match self {
            Self::Whole => Command::new(program),
            Self::Pinned => {
                let mut command = Command::new("taskset");
                command.args(["-c", cpu, program]);
                command
            }
        }
    }
}

/// Seconds of CPU that a process and its descendants have used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    pub(crate) user: f64,
    pub(crate) system: f64,
}

impl Cpu {
    pub(crate) fn total(self) -> f64 {
        self.user + self.system
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self { user: self.user - before.user, system: self.system - before.system }
    }
}

/// A process that ends with this value, with all that it started.
#[derive(Debug)]
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn cpu(&self) -> Cpu {
        let mut sum = Cpu::default();
        for pid in self.family() {
            // Gone between the look and this one: it used nothing that still counts.
            let Some(fields) = stat(pid) else { continue };
            // Fields 14 and 15 of proc(5), counted from the one behind the name; ticks are 10 ms.
            let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).unwrap_or_default();
            sum.user += ticks(11) / 100.0;
            sum.system += ticks(12) / 100.0;
        }
        sum
    }

    /// Resident bytes that are not shared with files on disk, of all its processes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.family().into_iter().map(|pid| resident(pid).unwrap_or_default()).sum()
    }

    fn family(&self) -> Vec<u32> {
        let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        for pid in all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
            if let Some(parent) = stat(pid).and_then(|fields| fields.get(1)?.parse().ok()) {
                children.entry(parent).or_default().push(pid);
            }
        }
        let mut family = vec![self.0.id()];
        let mut next = 0;
        while let Some(pid) = family.get(next) {
            family.extend(children.remove(pid).unwrap_or_default());
            next += 1;
        }
        family
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Masters take their workers along when they are told; what is left is killed.
        let family = self.family();
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        for _ in 0..50 {
            if matches!(self.0.try_wait(), Ok(Some(_))) {
                break;
            }
            pause(20);
        }
        for pid in family {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).stderr(Stdio::null()).status();
        }
        let _ = self.0.wait();
    }
}

/// The fields of /proc/PID/stat behind the name, which may hold spaces.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

fn resident(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let of = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    Some((of("Anonymous:")? + of("Shmem:").unwrap_or_default()) * 1_024)
}

/// A real pause: processes of others are waited for.
#[allow(clippy::disallowed_methods, reason = "a bench waits for real processes")]
pub(crate) fn pause(ms: u64) {
    std::thread::sleep(std::time::Duration::from_millis(ms));
}

/// Polls until `ready`, for at most ten seconds.
pub(crate) fn until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    for _ in 0..20_000 {
        if let Some(value) = ready() {
            return Ok(value);
        }
        #[allow(clippy::disallowed_methods, reason = "a bench waits for real processes")]
        std::thread::sleep(std::time::Duration::from_micros(500));
    }
    None.with_context(|| format!("waited in vain for {what}"))
}
