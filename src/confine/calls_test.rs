//! What the filters let through, as the kernel runs them.

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
