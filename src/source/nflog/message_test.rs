//! Messages as the kernel sends them, and any other bytes.

use proptest::prelude::*;

use super::*;

/// An attribute, padded.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap();
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A message of this type.
fn message(kind: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend([0; 10]);
    bytes.extend(body);
    bytes
}

fn logged(family: u8, attributes: &[Vec<u8>]) -> Vec<u8> {
    message(
        PACKET,
        &[vec![family, 0, 0, 5], attributes.concat()].concat(),
    )
}

fn all(datagram: &[u8]) -> Vec<Message<'_>> {
    messages(datagram).collect()
}

#[test]
fn a_packet_has_its_prefix_without_the_nul_its_interfaces_bytes_and_number() {
    let attributes = [
        attribute(1, &[0x08, 0x00, 1, 0]),
        attribute(10, b"lk-4f9a1c7e: \0"),
        attribute(4, &7_u32.to_be_bytes()),
        attribute(99, b"of a later kernel"),
        attribute(9, b"payload"),
        attribute(12, &41_u32.to_be_bytes()),
    ];
    let expected = Captured {
        family: Some(Family::V4),
        prefix: b"lk-4f9a1c7e: ",
        iif: 7,
        oif: 0,
        payload: b"payload",
        seq: Some(41),
    };
    let two = [logged(2, &attributes), logged(2, &attributes)].concat();
    assert_eq!(all(&two), [Message::Packet(expected); 2]);
}

#[test]
fn only_what_has_an_ip_header_has_a_family() {
    let family = |family, ethertype: [u8; 2]| match all(&logged(
        family,
        &[attribute(1, &[ethertype[0], ethertype[1], 0, 0])],
    ))[..]
    {
        [Message::Packet(captured)] => captured.family,
        ref other => panic!("{other:?}"),
    };
    assert_eq!(family(2, [0, 0]), Some(Family::V4));
    assert_eq!(family(10, [0, 0]), Some(Family::V6));
    assert_eq!(family(5, [0x86, 0xdd]), Some(Family::V6));
    assert_eq!(family(5, [0x08, 0x06]), None);
    assert_eq!(family(7, [0x08, 0x00]), None);
}

#[test]
fn an_answer_is_an_error_number_or_none() {
    let answer = |error: i32| message(ANSWER, &error.to_ne_bytes());
    assert_eq!(all(&answer(0)), [Message::Answer(0)]);
    assert_eq!(all(&answer(-1)), [Message::Answer(1)]);
    assert_eq!(all(&answer(i32::MIN)), [Message::Answer(i32::MAX)]);
}

#[test]
fn a_length_that_does_not_fit_ends_the_datagram() {
    let whole = logged(2, &[attribute(9, b"payload")]);
    for length in [
        0_u32,
        15,
        17 + u32::try_from(whole.len()).unwrap(),
        u32::MAX,
    ] {
        let mut broken = whole.clone();
        broken[..4].copy_from_slice(&length.to_ne_bytes());
        assert_eq!(all(&broken), [], "{length}");
    }
    for length in [0_u16, 3, 13, u16::MAX] {
        let mut broken = whole.clone();
        broken[20..22].copy_from_slice(&length.to_ne_bytes());
        let [Message::Packet(captured)] = all(&broken)[..] else {
            panic!("{length}");
        };
        assert_eq!(captured.payload, b"", "{length}");
    }
}

#[test]
fn a_number_that_is_cut_is_no_packet() {
    for kind in [1, 4, 5, 12] {
        let cut = logged(2, &[attribute(kind, &[0])]);
        assert_eq!(all(&cut), [Message::Other], "{kind}");
    }
}

#[test]
fn the_request_is_one_message_of_whole_attributes() {
    let request = bind(5, 256);
    assert_eq!(request.len() % 4, 0);
    assert_eq!(all(&request), [Message::Other]);
    let said: Vec<_> = attributes(&request[20..]).map(|(kind, _)| kind).collect();
    assert_eq!(said, [1, 2, 3, 4, 5, 6]);
    assert_eq!(request[18..20], [0, 5], "the group");
}

proptest! {
    #[test]
    fn any_bytes_are_messages_within_them(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(all(&bytes).len() <= bytes.len() / 16);
    }

    #[test]
    fn any_attributes_are_within_their_message(body in prop::collection::vec(any::<u8>(), 0..200)) {
        for said in all(&message(PACKET, &body)) {
            if let Message::Packet(captured) = said {
                prop_assert!(captured.payload.len() + captured.prefix.len() <= body.len());
            }
        }
    }
}
