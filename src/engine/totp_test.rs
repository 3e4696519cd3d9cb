use super::*;

/// The key of RFC 6238's examples for SHA-256.
pub(in super::super) const RFC: &[u8] = b"12345678901234567890123456789012";

/// One that is like the defaults.
pub(in super::super) fn keys(secret: &[u8]) -> TotpKeys {
    TotpKeys {
        secret: Secret::new(secret.to_vec()).unwrap(),
        knocks: 4,
        ports: (20_000, 29_999),
        transport: Transport::Tcp,
        step: 30,
        skew: 1,
        beginning: None,
    }
}

#[test]
fn the_code_is_that_of_rfc_6238_appendix_b() {
    let secret = Secret::new(RFC.to_vec()).unwrap();
    let vectors = [
        (59_u64, 46_119_246),
        (1_111_111_109, 68_084_774),
        (1_111_111_111, 67_062_674),
        (1_234_567_890, 91_819_424),
        (2_000_000_000, 90_698_825),
        (20_000_000_000, 77_737_706),
    ];
    for (time, code) in vectors {
        let value = secret.truncated::<Hmac<Sha256>>(&[&(time / 30).to_be_bytes()]);
        assert_eq!(value % 100_000_000, code, "at {time}");
    }
}

#[test]
fn the_code_of_an_authenticator_is_that_of_rfc_6238_appendix_b() {
    let vectors = [
        (59_u64, "94287082"),
        (1_111_111_109, "07081804"),
        (1_111_111_111, "14050471"),
        (1_234_567_890, "89005924"),
        (2_000_000_000, "69279037"),
        (20_000_000_000, "65353130"),
    ];
    let begin = Step {
        port: 7_000,
        transport: Transport::Udp,
    };
    for (digits, per_knock) in [(6_u8, 2_u8), (8, 2), (8, 4)] {
        let width = usize::from(per_knock);
        let totp = Totp::new(TotpKeys {
            knocks: digits / per_knock,
            ports: (21_000, 21_000 + 10_u16.pow(per_knock.into()) - 1),
            beginning: Some([begin].into()),
            ..keys(b"12345678901234567890")
        });
        for (time, code) in vectors {
            let sequence = totp.as_ref().unwrap().sequence(time / 30).unwrap();
            let [first, knocks @ ..] = sequence.steps() else {
                panic!("no step");
            };
            assert_eq!(*first, begin);
            let groups = knocks.iter().map(|step| step.port - 21_000);
            let shown: Vec<_> = groups.map(|group| format!("{group:0width$}")).collect();
            assert_eq!(shown.concat(), code[8 - usize::from(digits)..], "at {time}");
        }
    }
}

#[test]
fn the_ports_are_those_that_another_program_works_out() {
    let text = include_str!("../../fixtures/totp/vectors.txt");
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    let mut count = 0;
    for row in rows {
        let words: Vec<_> = row.split(' ').collect();
        let [key, step, range, knocks, time, ports] = words.as_slice() else {
            panic!("what is '{row}'?");
        };
        let (low, high) = range.split_once('-').unwrap();
        let secret = data_encoding::BASE32_NOPAD.decode(key.as_bytes()).unwrap();
        let totp = Totp::new(TotpKeys {
            knocks: knocks.parse().unwrap(),
            ports: (low.parse().unwrap(), high.parse().unwrap()),
            step: step.parse().unwrap(),
            ..keys(&secret)
        });
        let totp = totp.unwrap();
        let number = totp.number_at(time.parse().unwrap()).unwrap();
        let sequence = totp.sequence(number).unwrap();
        let derived: Vec<_> = sequence
            .steps()
            .iter()
            .map(|step| step.port.to_string())
            .collect();
        assert_eq!(derived.join(","), *ports, "{row}");
        count += 1;
    }
    assert_eq!(count, 9);
}

#[test]
fn what_is_out_of_range_is_no_totp() {
    assert!(Secret::new(Vec::new()).is_none());
    for wrong in [
        TotpKeys {
            knocks: 0,
            ..keys(RFC)
        },
        TotpKeys {
            knocks: 33,
            ..keys(RFC)
        },
        TotpKeys {
            ports: (0, 9),
            ..keys(RFC)
        },
        TotpKeys {
            ports: (9, 8),
            ..keys(RFC)
        },
        TotpKeys {
            step: 0,
            ..keys(RFC)
        },
        TotpKeys {
            skew: 11,
            ..keys(RFC)
        },
    ] {
        assert!(Totp::new(wrong).is_none());
    }
}
