//! How a command ended, told without its secrets.

use super::*;

fn ended(how: How) -> Ended {
    let invocation = Invocation {
        argv: vec!["/sbin/nft".to_owned(), "s3cret".to_owned()],
        env: vec![("LOGKNOCK_PORT".to_owned(), "s3cret".to_owned())],
        account: None,
    };
    Ended {
        how,
        output: Box::from(*b"s3cret"),
        took: Duration::from_millis(10_012),
        ..Ended::not_started(Some(&invocation), NotStarted::Expired)
    }
}

#[test]
fn the_sentence_names_the_program_and_nothing_that_could_be_secret() {
    let cases = [
        (How::Exited(2), "'/sbin/nft' exited with status 2"),
        (How::Signalled(11), "'/sbin/nft' was killed by signal 11"),
        (How::TimedOut, "'/sbin/nft' was killed after 10 s"),
        (
            How::Refused(Errno::OPNOTSUPP.raw_os_error()),
            "'/sbin/nft': this kernel has no nf_tables",
        ),
        (
            How::NotStarted(NotStarted::Denied),
            "'/sbin/nft' was not run: permission denied",
        ),
    ];
    for (how, sentence) in cases {
        assert_eq!(ended(how).to_string(), sentence);
        assert!(!format!("{:?}", ended(how)).contains("s3cret"));
    }
}

#[test]
fn only_status_zero_is_success_and_a_command_that_never_ran_is_distinguished() {
    assert_eq!(ended(How::Exited(0)).outcome(), Outcome::Done);
    for how in [
        How::Exited(1),
        How::Signalled(9),
        How::TimedOut,
        How::Stopped,
    ] {
        assert_eq!(ended(how).outcome(), Outcome::Failed, "{how:?}");
    }
    for why in [
        NotStarted::Ledger,
        NotStarted::Expired,
        NotStarted::NotFound,
    ] {
        let never = ended(How::NotStarted(why)).outcome();
        assert_eq!(never, Outcome::NotRun, "{why:?}");
    }
}

#[test]
fn the_last_line_that_says_something_is_its_last_words_or_else_how_it_ended() {
    let wrote = |output: &[u8]| Ended {
        output: output.into(),
        ..ended(How::Exited(2))
    };
    assert_eq!(wrote(b"one\n two\x1b[1m\n \n").last_words(), "two [1m");
    assert_eq!(wrote(b"").last_words(), "'/sbin/nft' exited with status 2");
}

#[test]
fn a_refusal_of_the_kernel_is_told_apart_by_its_number() {
    let cases = [
        (Errno::NOENT, NotStarted::NotFound),
        (Errno::ACCESS, NotStarted::Denied),
        (Errno::NOEXEC, NotStarted::NoProgram),
        (Errno::AGAIN, NotStarted::Exhausted),
        (Errno::NOMEM, NotStarted::Exhausted),
        (Errno::TXTBSY, NotStarted::Other(26)),
    ];
    for (errno, why) in cases {
        assert_eq!(NotStarted::from(io::Error::from(errno)), why);
    }
}
