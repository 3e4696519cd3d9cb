use rustix::net::sockopt::set_socket_recv_buffer_size;

use super::*;

fn batch() -> Batch {
    let change =
        |verb: &str| format!("{verb} element inet logknock open4 {{ 192.0.2.7 . tcp . 22 }}");
    let text = format!("{}; {}", change("add"), change("delete"));
    Batch::of(&["nft".to_owned(), text]).unwrap()
}

/// The kernel has no such table, or we may not ask.
fn is_plain(verdict: Option<Verdict>) -> bool {
    let known = [Errno::NOENT, Errno::PERM].map(|errno| Verdict::Refused(errno.raw_os_error()));
    verdict.is_some_and(|verdict| verdict == Verdict::Done || known.contains(&verdict))
}

#[test]
fn a_socket_that_is_full_of_answers_is_an_error_and_the_next_batch_has_another() {
    let socket = open().unwrap();
    set_socket_recv_buffer_size(&socket, 1).unwrap();
    for _ in 0..100 {
        let _ = send(&socket, &batch().bytes(), SendFlags::empty());
    }
    let mut nftables = Nftables(Some(socket));
    let full = Verdict::Refused(Errno::NOBUFS.raw_os_error());
    assert_eq!(nftables.run(&batch()), Some(full));
    let next = nftables.run(&batch());
    assert!(is_plain(next), "{next:?}");
    assert!(nftables.0.is_some(), "it stays open");
}

#[test]
fn a_batch_without_an_answer_is_not_believed() {
    let (socket, other) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .unwrap();
    assert_eq!(ask(&socket, &batch()), Err(Errno::IO));
    send(&other, b"no message of netlink", SendFlags::empty()).unwrap();
    assert_eq!(ask(&socket, &batch()), Err(Errno::IO));
}
