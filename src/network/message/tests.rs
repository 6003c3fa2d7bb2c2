use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn all<T, E>(items: impl Iterator<Item = Result<T, E>>) -> Result<Vec<T>, E> {
    items.collect()
}

/// `struct ifinfomsg`, then the attributes of the request.
fn payload(request: &Request) -> Vec<u8> {
    let bytes = request.bytes(1).unwrap();
    all(messages(&bytes)).unwrap()[0].payload.to_vec()
}

#[test]
fn a_request_has_the_layout_of_rtnetlink() {
    let request = Request::link(libc::RTM_NEWLINK, 7, 1, 1)
        .flagged(libc::NLM_F_ACK)
        .named(libc::IFLA_IFNAME, "eth0")
        .unwrap();
    let bytes = request.bytes(9).unwrap();
    let mut expected = Vec::new();
    expected.extend_from_slice(&44u32.to_ne_bytes());
    expected.extend_from_slice(&16u16.to_ne_bytes());
    expected.extend_from_slice(&5u16.to_ne_bytes());
    expected.extend_from_slice(&9u32.to_ne_bytes());
    expected.extend_from_slice(&[0; 4]);
    expected.extend_from_slice(&[0; 4]);
    expected.extend_from_slice(&7i32.to_ne_bytes());
    expected.extend_from_slice(&1u32.to_ne_bytes());
    expected.extend_from_slice(&1u32.to_ne_bytes());
    expected.extend_from_slice(&9u16.to_ne_bytes());
    expected.extend_from_slice(&3u16.to_ne_bytes());
    expected.extend_from_slice(b"eth0\0\0\0\0");
    assert_eq!(bytes, expected);
}

#[test]
fn an_attribute_that_does_not_fit_is_refused_and_never_cut_off() {
    let request = || Request::link(libc::RTM_NEWLINK, 1, 0, 0);
    let most = usize::from(u16::MAX) - ATTRIBUTE_HEADER;
    assert!(request().with(1, &vec![0; most]).is_ok());
    for length in [most + 1, 65_536, 65_540, 70_000] {
        let refused = request().with(1, &vec![0; length]);
        assert_eq!(refused, Err(Malformed::TooLong), "{length}");
    }
}

#[test]
fn a_link_is_read_with_its_name_and_hardware_address() {
    let request = Request::link(libc::RTM_NEWLINK, 3, 0x1003, 0)
        .with(libc::IFLA_MTU, &1500u32.to_ne_bytes())
        .and_then(|r| r.named(libc::IFLA_IFNAME, "veth1"))
        .and_then(|r| r.with(libc::IFLA_ADDRESS, &[2, 0, 0, 0, 0, 9]))
        .unwrap();
    assert_eq!(
        Link::parse(&payload(&request)),
        Ok(Link {
            index: 3,
            flags: 0x1003,
            name: "veth1".to_owned(),
            hardware: vec![2, 0, 0, 0, 0, 9],
        })
    );
}

/// An address as the kernel tells it.
fn told(flags: u32, scope: u8, label: &str) -> Vec<u8> {
    let request = Request::address(libc::RTM_NEWADDR, 2, 24, 5)
        .with(libc::IFA_ADDRESS, &[10, 0, 0, 1])
        .and_then(|r| r.with(libc::IFA_LOCAL, &[10, 0, 0, 1]))
        .and_then(|r| r.named(libc::IFA_LABEL, label))
        .and_then(|r| r.with(libc::IFA_CACHEINFO, &[0; 16]))
        .and_then(|r| r.with(libc::IFA_FLAGS, &flags.to_ne_bytes()))
        .unwrap();
    let mut payload = payload(&request);
    payload[3] = scope;
    payload
}

#[test]
fn only_permanent_addresses_of_global_scope_are_kept() {
    for (flags, scope, kept) in [
        (PERMANENT, 0, true),
        (PERMANENT | 0x200, 0, true),
        (0, 0, false),
        (PERMANENT, 253, false),
        (PERMANENT, 254, false),
    ] {
        let (index, address) = Address::parse(&told(flags, scope, "v")).unwrap();
        assert_eq!((index, address.is_some()), (5, kept), "{flags:#x} {scope}");
    }
}

#[test]
fn the_flags_in_the_head_count_where_there_are_no_others() {
    let request = Request::address(libc::RTM_NEWADDR, 10, 64, 5);
    let mut payload = payload(&request);
    payload[2] = PERMANENT as u8;
    assert!(Address::parse(&payload).unwrap().1.is_some());
}

#[test]
fn an_address_is_added_with_what_somebody_chose() {
    let flags = PERMANENT | 0x200 | 0x40;
    let (_, address) = Address::parse(&told(flags, 0, "old:1")).unwrap();
    let request = address.unwrap().add(8, "old", "new").unwrap();
    let again = payload(&request);
    assert_eq!(again[..8], [2, 24, 0, 0, 8, 0, 0, 0]);
    let found = all(attributes(&again[8..])).unwrap();
    let ip: &[u8] = &[10, 0, 0, 1];
    let expected: [(u16, &[u8]); 4] = [
        (libc::IFA_ADDRESS, ip),
        (libc::IFA_LOCAL, ip),
        (libc::IFA_FLAGS, &0x200u32.to_ne_bytes()),
        (libc::IFA_LABEL, b"new:1\0"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_label_that_is_the_devices_name_is_left_to_the_kernel() {
    for (label, new) in [
        ("old", "new"),
        ("other", "new"),
        ("old:1", "a-name-of-15-by"),
    ] {
        let (_, address) = Address::parse(&told(PERMANENT, 0, label)).unwrap();
        let request = address.unwrap().add(8, "old", new).unwrap();
        let again = payload(&request);
        let found = all(attributes(&again[8..])).unwrap();
        assert!(found.iter().all(|(k, _)| *k != libc::IFA_LABEL), "{label}");
    }
}

#[test]
fn lengths_that_lie_are_errors_and_end_the_list() {
    let good = Request::link(libc::RTM_NEWLINK, 1, 0, 0).bytes(1).unwrap();
    for length in [0u32, 15, good.len() as u32 + 1, u32::MAX] {
        let mut bytes = good.clone();
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        let found: Vec<_> = messages(&bytes).collect();
        assert_eq!(found, [Err(Malformed::Length)], "{length}");
    }
    for length in [0u16, 3, 9, u16::MAX] {
        let mut bytes = [0u8; 8];
        bytes[..2].copy_from_slice(&length.to_ne_bytes());
        let found: Vec<_> = attributes(&bytes).collect();
        assert_eq!(found, [Err(Malformed::Length)], "{length}");
    }
}

#[test]
fn the_errno_of_an_answer_is_positive() {
    let message = |payload| Message {
        kind: 2,
        flags: 0,
        sequence: 1,
        payload,
    };
    let (refused, done) = ((-17i32).to_ne_bytes(), 0i32.to_ne_bytes());
    assert_eq!(message(&refused).errno(), Some(17));
    assert_eq!(message(&done).errno(), Some(0));
    assert_eq!(message(&[1, 2]).errno(), None);
    assert_eq!(message(&i32::MIN.to_ne_bytes()).errno(), None);
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic_and_to_an_end(bytes in vec(any::<u8>(), 0..300)) {
        // Each step takes at least a header's length.
        prop_assert!(messages(&bytes).count() <= bytes.len() / HEADER + 1);
        prop_assert!(attributes(&bytes).count() <= bytes.len() / ATTRIBUTE_HEADER + 1);
        let _ = Link::parse(&bytes);
        let _ = Address::parse(&bytes);
    }

    #[test]
    fn small_lengths_are_read_without_a_panic(bytes in vec(0u8..40, 0..300)) {
        prop_assert!(messages(&bytes).count() <= bytes.len() / HEADER + 1);
        for message in messages(&bytes).flatten() {
            let _ = (Link::parse(message.payload), Address::parse(message.payload));
        }
    }

    #[test]
    fn what_was_encoded_is_decoded(
        parts in vec((0u16..TYPE_MASK, vec(any::<u8>(), 0..40)), 0..10),
        index in any::<i32>(),
        sequence in any::<u32>(),
    ) {
        let mut request = Request::link(libc::RTM_NEWLINK, index, 0, 0);
        for (kind, value) in &parts {
            request = request.with(*kind, value).unwrap();
        }
        let bytes = request.bytes(sequence).unwrap();
        let found = all(messages(&bytes)).unwrap();
        prop_assert_eq!(found.len(), 1);
        prop_assert_eq!(found[0].sequence, sequence);
        prop_assert_eq!(Link::parse(found[0].payload).unwrap().index, index);
        let attributes: Vec<_> = all(attributes(&found[0].payload[16..])).unwrap();
        let expected: Vec<(u16, &[u8])> = parts.iter().map(|(k, v)| (*k, v.as_slice())).collect();
        prop_assert_eq!(attributes, expected);
    }
}
