//! System calls: seccomp. Calls that following, counting and reporting need are allowed; every other one fails with
//! `EPERM`.
//!
//! The filter lists what is allowed: user 0 without capabilities can still change much that belongs to user 0, and
//! each kernel adds calls. Other calls return an error and do not kill the process, because a later C library may try
//! a call that is not on the list and do without it.

use std::collections::BTreeMap;

use rustix::process::getpid;
use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::SeccompCmpOp::{Eq, MaskedEq};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter_all_threads,
};

use crate::confine::Strength;

/// Allowed whatever the arguments are.
const ALLOWED: &[i64] = &[
    // what is open already
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_close,
    libc::SYS_lseek,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_eventfd2,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_ftruncate,
    libc::SYS_flock,
    // files, as far as Landlock lets them be opened
    libc::SYS_openat,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_getcwd,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_rm_watch,
    // sockets that are there, and their clients
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_shutdown,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    // waiting
    libc::SYS_ppoll,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_futex,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_sched_yield,
    // time and chance
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    // memory and threads
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_getaffinity,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // our user, group and directory
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    // refused with another number, below
    libc::SYS_clone3,
];

/// The same in the words of an older interface.
#[cfg(target_arch = "x86_64")]
const OLDER: &[i64] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_poll,
    libc::SYS_epoll_wait,
    libc::SYS_dup2,
    libc::SYS_pipe,
    libc::SYS_time,
];
#[cfg(target_arch = "aarch64")]
const OLDER: &[i64] = &[];
#[cfg(target_arch = "riscv64")]
const OLDER: &[i64] = &[];

#[cfg(target_arch = "x86_64")]
const ARCH: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCH: TargetArch = TargetArch::aarch64;
#[cfg(target_arch = "riscv64")]
const ARCH: TargetArch = TargetArch::riscv64;

/// What a descriptor may be asked: whether it is a terminal and how wide, how much there is to
/// read, not to wait, and what an interface is called. (A terminal takes keystrokes too.)
const ASKED: [u64; 6] = [
    0x5401, // TCGETS
    0x5413, // TIOCGWINSZ
    0x541b, // FIONREAD
    0x5421, // FIONBIO
    0x5451, // FIOCLEX
    0x8910, // SIOCGIFNAME
];

/// What may be done with a descriptor: another one of it, whether it outlives an exec, whether it waits.
/// Signals are left out: allowing them would reach processes that an older Landlock lets be killed.
const DONE_WITH: [i32; 6] = [
    libc::F_DUPFD,
    libc::F_DUPFD_CLOEXEC,
    libc::F_GETFD,
    libc::F_SETFD,
    libc::F_GETFL,
    libc::F_SETFL,
];

/// Confines all threads of this process.
pub(super) fn confine() -> Strength {
    let confined = filters().is_ok_and(|filters| {
        // The last one forbids to add another.
        let mut filters = filters.iter();
        filters.all(|filter| apply_filter_all_threads(filter).is_ok())
    });
    if confined {
        Strength::Full
    } else {
        Strength::None
    }
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn filters() -> Result<[BpfProgram; 2], BackendError> {
    let mut allowed: Rules = ALLOWED
        .iter()
        .chain(OLDER)
        .map(|&call| (call, Vec::new()))
        .collect();
    allowed.extend(with_arguments()?);
    // On this error a C library falls back to clone, whose arguments can be checked.
    let unknown = Rules::from([(libc::SYS_clone3, Vec::new())]);
    Ok([compiled(unknown, SeccompAction::Allow, libc::ENOSYS)?, {
        let refused = SeccompAction::Errno(libc::EPERM.cast_unsigned());
        SeccompFilter::new(allowed, refused, SeccompAction::Allow, ARCH)?.try_into()?
    }])
}

fn compiled(rules: Rules, other: SeccompAction, errno: i32) -> Result<BpfProgram, BackendError> {
    let refused = SeccompAction::Errno(errno.cast_unsigned());
    SeccompFilter::new(rules, other, refused, ARCH)?.try_into()
}

/// Allowed with these arguments only.
fn with_arguments() -> Result<Rules, BackendError> {
    let one = |call, condition: Result<SeccompCondition, BackendError>| {
        Ok::<_, BackendError>((call, vec![SeccompRule::new(vec![condition?])?]))
    };
    let thread = u64::from(libc::CLONE_THREAD.cast_unsigned());
    let executable = u64::from(libc::PROT_EXEC.cast_unsigned());
    let ourselves = u64::from(getpid().as_raw_nonzero().get().cast_unsigned());
    let second = |value| SeccompRule::new(vec![SeccompCondition::new(1, Dword, Eq, value)?]);
    let asked = ASKED.into_iter().map(second);
    let done = DONE_WITH.into_iter().map(i32::cast_unsigned);
    let done = done.map(u64::from).map(second);
    let own_limits = vec![
        SeccompCondition::new(0, Dword, Eq, 0)?,
        SeccompCondition::new(2, Qword, Eq, 0)?,
    ];
    let name = u64::from(libc::PR_SET_NAME.cast_unsigned());
    Ok(Rules::from([
        // A thread, no process.
        one(
            libc::SYS_clone,
            SeccompCondition::new(0, Qword, MaskedEq(thread), thread),
        )?,
        // Nothing that was read is run.
        one(
            libc::SYS_mmap,
            SeccompCondition::new(2, Dword, MaskedEq(executable), 0),
        )?,
        one(
            libc::SYS_mprotect,
            SeccompCondition::new(2, Dword, MaskedEq(executable), 0),
        )?,
        // To whom a socket is connected already.
        one(libc::SYS_sendto, SeccompCondition::new(4, Qword, Eq, 0))?,
        // Our own end, by abort().
        one(
            libc::SYS_tgkill,
            SeccompCondition::new(0, Dword, Eq, ourselves),
        )?,
        one(libc::SYS_prctl, SeccompCondition::new(0, Dword, Eq, name))?,
        (libc::SYS_ioctl, asked.collect::<Result<_, _>>()?),
        (libc::SYS_fcntl, done.collect::<Result<_, _>>()?),
        (libc::SYS_prlimit64, vec![SeccompRule::new(own_limits)?]),
    ]))
}

#[cfg(test)]
#[path = "calls_test.rs"]
mod tests;
