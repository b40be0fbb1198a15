//! Which core runs what: the server on one, the load generator on another, so that neither takes the other's time.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Server,
    Generator,
}

/// Runs `work` on the role's core; processes it starts stay there. Without a second core everything runs anywhere.
pub fn pinned<T>(role: Role, work: impl FnOnce() -> T) -> T {
    let (Ok(allowed), Some(core)) = (sched_getaffinity(None), core(role)) else {
        return work();
    };
    let mut one = CpuSet::new();
    one.set(core);
    let pinned = sched_setaffinity(None, &one).is_ok();
    let result = work();
    if pinned {
        let _ = sched_setaffinity(None, &allowed);
    }
    result
}

/// The first allowed core for the server, the second for the generator.
pub fn core(role: Role) -> Option<usize> {
    let allowed = sched_getaffinity(None).ok()?;
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).take(2).collect();
    match (role, cores.as_slice()) {
        (Role::Server, [first, _]) => Some(*first),
        (Role::Generator, [_, second]) => Some(*second),
        _ => None,
    }
}
