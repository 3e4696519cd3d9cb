use super::*;
use crate::engine::sequence::Transport;

fn facts() -> Facts {
    Facts {
        src: "2001:db8::7".parse().unwrap(),
        dst: "2001:db8::1".parse().unwrap(),
        step: Step {
            port: 9000,
            transport: Transport::Udp,
        },
        interface: "eth0".into(),
        door: "%IP%".into(),
        hold: Some(Duration::from_millis(1500)),
    }
}

#[test]
fn placeholders_become_values_wherever_they_stand() {
    let cases = [
        ("%IP%", "2001:db8::7"),
        ("%IP%%IP%", "2001:db8::72001:db8::7"),
        ("a%IP%b%PORT%", "a2001:db8::7b9000"),
        (
            "%FAMILY%-%PROTO%-%TIMEOUT%-%IN%-%DST%",
            "6-udp-2-eth0-2001:db8::1",
        ),
        ("100% of %IP%", "100% of 2001:db8::7"),
        ("+%H%M%S", "+%H%M%S"),
        ("%", "%"),
        ("%%", "%%"),
        ("%ip%", "%ip%"),
        ("%DOOR%", "%IP%"),
    ];
    for (word, expected) in cases {
        let template = Template::from_words(&["true", word]).unwrap();
        assert_eq!(template.expand(&facts()).argv, ["true", expected], "{word}");
    }
}

#[test]
fn an_unknown_placeholder_is_refused_with_the_known_ones() {
    let error = Template::from_words(&["true", "%ADDR%"]).unwrap_err();
    assert_eq!(error, TemplateError::Unknown("ADDR".to_owned()));
    assert!(error.to_string().contains("%IP% %DOOR%"));
}

#[test]
fn in_knockds_commands_only_the_address_is_replaced() {
    let argv = |script: &str| Template::from_knockd(script).unwrap().expand(&facts()).argv;
    for (script, expected) in [
        ("x -s %IP%,%IP%", "x -s 2001:db8::7,2001:db8::7"),
        (
            "%AB%IP% %PORT% %ip% %%IP%%",
            "%AB2001:db8::7 %PORT% %ip% %2001:db8::7%",
        ),
    ] {
        assert_eq!(argv(script), ["/bin/sh", "-c", expected]);
    }
    assert_eq!(Template::from_knockd(" "), Err(TemplateError::Empty));
    assert_eq!(Template::from_knockd("a\0b"), Err(TemplateError::Nul));
}

#[test]
fn only_an_address_may_stand_in_a_shell_string() {
    assert!(Template::from_shell("echo %IP% >> x").is_ok());
    assert_eq!(
        Template::from_shell("echo %IN%"),
        Err(TemplateError::Unsafe("IN"))
    );
    let argv = Template::from_shell("echo %IP%")
        .unwrap()
        .expand(&facts())
        .argv;
    assert_eq!(argv, ["/bin/sh", "-c", "echo 2001:db8::7"]);
}

#[test]
fn debug_shows_the_program_and_no_argument() {
    let template = Template::from_words(&["/bin/x", "secret", "%PORT%"]).unwrap();
    assert_eq!(format!("{template:?}"), "Template(/bin/x …)");
    assert_eq!(
        format!("{:?}", template.expand(&facts())),
        "Invocation(/bin/x …)"
    );
}

#[test]
fn no_words_and_nul_bytes_are_no_command() {
    assert_eq!(Template::from_words::<&str>(&[]), Err(TemplateError::Empty));
    assert_eq!(Template::from_words(&[""]), Err(TemplateError::Empty));
    assert_eq!(Template::from_shell("  "), Err(TemplateError::Empty));
    assert_eq!(Template::from_words(&["a\0b"]), Err(TemplateError::Nul));
}
