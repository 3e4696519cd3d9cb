//! System calls: seccomp. Those that following, counting and telling need are allowed; every other one
//! fails with `EPERM`.
//!
//! A list of what is allowed, because a user 0 without any capability may still do much to what
//! belongs to user 0, and the list of that grows with every kernel. An error and not the end of the
//! process, because a C library of tomorrow may try a call that is not on the list and do without.

#[cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
))]
pub(super) use self::filter::{confine, is_possible};

/// Nobody has written a compiler of filters for this machine.
#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
)))]
pub(super) fn confine() -> super::Strength {
    super::Strength::None
}

/// Nobody has written a compiler of filters for this machine.
#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
)))]
pub(super) fn is_possible() -> bool {
    false
}

#[cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
))]
mod filter {
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
        libc::SYS_unlinkat,
        libc::SYS_renameat2,
        libc::SYS_inotify_init1,
        libc::SYS_inotify_add_watch,
        libc::SYS_inotify_rm_watch,
        // sockets that are there, and their clients
        libc::SYS_accept4,
        libc::SYS_recvfrom,
        libc::SYS_recvmsg,
        libc::SYS_shutdown,
        libc::SYS_getsockopt,
        libc::SYS_setsockopt,
        libc::SYS_getsockname,
        libc::SYS_getpeername,
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
        // who and where we are
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
        libc::SYS_unlink,
        libc::SYS_rename,
        libc::SYS_renameat,
        libc::SYS_poll,
        libc::SYS_epoll_wait,
        libc::SYS_dup2,
        libc::SYS_pipe,
        libc::SYS_accept,
        libc::SYS_time,
    ];
    #[cfg(target_arch = "aarch64")]
    const OLDER: &[i64] = &[libc::SYS_renameat];
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
    /// Not who is sent which signal for it: that would reach what Landlock of an older kernel lets be killed.
    const DONE_WITH: [i32; 6] = [
        libc::F_DUPFD,
        libc::F_DUPFD_CLOEXEC,
        libc::F_GETFD,
        libc::F_SETFD,
        libc::F_GETFL,
        libc::F_SETFL,
    ];

    /// Confines all threads of this process.
    pub(in crate::confine) fn confine() -> Strength {
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

    /// Whether this kernel has it at all.
    pub(in crate::confine) fn is_possible() -> bool {
        rustix::thread::secure_computing_mode().is_ok()
    }

    type Rules = BTreeMap<i64, Vec<SeccompRule>>;

    fn filters() -> Result<[BpfProgram; 2], BackendError> {
        let mut allowed: Rules = ALLOWED
            .iter()
            .chain(OLDER)
            .map(|&call| (call, Vec::new()))
            .collect();
        allowed.extend(with_arguments()?);
        // A C library goes on with clone, whose arguments can be looked at, when it hears that.
        let unknown = Rules::from([(libc::SYS_clone3, Vec::new())]);
        Ok([compiled(unknown, SeccompAction::Allow, libc::ENOSYS)?, {
            let refused = SeccompAction::Errno(libc::EPERM.cast_unsigned());
            SeccompFilter::new(allowed, refused, SeccompAction::Allow, ARCH)?.try_into()?
        }])
    }

    fn compiled(
        rules: Rules,
        other: SeccompAction,
        errno: i32,
    ) -> Result<BpfProgram, BackendError> {
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
    mod tests {
        use super::*;

        /// What the filters say of a call with these arguments, as the kernel runs them (classic BPF on
        /// `struct seccomp_data`): the number that it fails with, or 0.
        fn errno(call: i64, arguments: [u64; 6]) -> u32 {
            let filters = filters().unwrap();
            let arch = filters[0][1].k; // what it asks for first
            let mut data = Vec::new();
            data.extend(u32::try_from(call).unwrap().to_ne_bytes());
            data.extend(arch.to_ne_bytes());
            data.extend([0; 8]);
            data.extend(arguments.iter().flat_map(|word| word.to_ne_bytes()));
            filters
                .iter()
                .map(|filter| run(filter, &data))
                .filter(|verdict| *verdict != libc::SECCOMP_RET_ALLOW)
                .map(|verdict| verdict & libc::SECCOMP_RET_DATA)
                .max()
                .unwrap_or(0)
        }

        fn run(filter: &BpfProgram, data: &[u8]) -> u32 {
            const LOAD: u16 = 0x20;
            const AND: u16 = 0x54;
            const RETURN: u16 = 0x06;
            const JUMP: u16 = 0x05;
            const EQUAL: u16 = 0x15;
            const GREATER: u16 = 0x25;
            const NOT_LESS: u16 = 0x35;
            let (mut at, mut accumulator) = (0, 0);
            loop {
                let step = &filter[at];
                let k = step.k;
                at += 1;
                let holds = match step.code {
                    LOAD => {
                        let word = &data[k as usize..][..4];
                        accumulator = u32::from_ne_bytes(word.try_into().unwrap());
                        continue;
                    }
                    AND => {
                        accumulator &= k;
                        continue;
                    }
                    JUMP => {
                        at += k as usize;
                        continue;
                    }
                    RETURN => return k,
                    EQUAL => accumulator == k,
                    GREATER => accumulator > k,
                    NOT_LESS => accumulator >= k,
                    code => panic!("{code:#x}"),
                };
                at += usize::from(if holds { step.jt } else { step.jf });
            }
        }

        #[test]
        fn a_descriptor_can_be_copied_and_told_to_wait_and_sends_nobody_a_signal() {
            const F_SETSIG: i32 = 10;
            const F_SETOWN_EX: i32 = 15;
            let denied = libc::EPERM.cast_unsigned();
            let fcntl = |command: i32| {
                let command = u64::from(command.cast_unsigned());
                errno(libc::SYS_fcntl, [3, command, 1, 0, 0, 0])
            };
            for command in [libc::F_DUPFD_CLOEXEC, libc::F_GETFD, libc::F_SETFL] {
                assert_eq!(fcntl(command), 0, "{command}");
            }
            for command in [libc::F_SETOWN, F_SETSIG, F_SETOWN_EX, libc::F_SETLEASE] {
                assert_eq!(fcntl(command), denied, "{command}");
            }
        }

        #[test]
        fn the_filters_let_through_what_following_needs_and_nothing_else() {
            let denied = libc::EPERM.cast_unsigned();
            let ourselves = u64::from(getpid().as_raw_nonzero().get().cast_unsigned());
            let executable = u64::from((libc::PROT_READ | libc::PROT_EXEC).cast_unsigned());
            let thread = u64::from(libc::CLONE_THREAD.cast_unsigned());
            for (call, arguments, said) in [
                (libc::SYS_read, [0; 6], 0),
                (libc::SYS_clone3, [0; 6], libc::ENOSYS.cast_unsigned()),
                (libc::SYS_clone, [thread, 0, 0, 0, 0, 0], 0),
                (libc::SYS_clone, [0; 6], denied),
                (libc::SYS_execve, [0; 6], denied),
                (libc::SYS_mmap, [0, 4096, 3, 0, 0, 0], 0),
                (libc::SYS_mmap, [0, 4096, executable, 0, 0, 0], denied),
                (libc::SYS_tgkill, [ourselves, 1, 6, 0, 0, 0], 0),
                (libc::SYS_tgkill, [1, 1, 9, 0, 0, 0], denied),
                (libc::SYS_kill, [ourselves, 9, 0, 0, 0, 0], denied),
                (libc::SYS_sendto, [3, 0, 0, 0, 1, 0], denied),
                (libc::SYS_sendmsg, [0; 6], denied),
                (libc::SYS_ioctl, [3, 0x8910, 0, 0, 0, 0], 0), // SIOCGIFNAME
                (libc::SYS_ioctl, [3, 0x8914, 0, 0, 0, 0], denied), // SIOCSIFFLAGS
                (libc::SYS_ioctl, [3, 0x5412, 0, 0, 0, 0], denied), // TIOCSTI
                (libc::SYS_ioctl, [3, 0x5452, 0, 0, 0, 0], denied), // FIOASYNC
            ] {
                assert_eq!(errno(call, arguments), said, "call {call} {arguments:?}");
            }
        }
    }
}
