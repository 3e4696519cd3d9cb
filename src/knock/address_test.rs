use super::*;

fn texts(family: Family, source: Option<&str>) -> Result<Vec<String>, String> {
    let found = ["192.0.2.1", "2001:db8::1", "192.0.2.1", "192.0.2.9"];
    let found = found.map(|address| SocketAddr::new(address.parse().unwrap(), 0));
    let source = source.map(|address| address.parse().unwrap());
    let texts = |addresses: Vec<SocketAddr>| {
        let texts = addresses.iter().map(|address| address.ip().to_string());
        texts.collect()
    };
    suitable(found.into_iter(), family, source)
        .map(texts)
        .map_err(|error| error.to_string())
}

#[test]
fn all_addresses_are_taken_once_in_their_order() {
    let all = ["192.0.2.1", "2001:db8::1", "192.0.2.9"].map(str::to_owned);
    assert_eq!(texts(Family::Any, None), Ok(all.to_vec()));
}

#[test]
fn a_family_or_a_source_leaves_the_others_out() {
    let v6 = Ok(vec!["2001:db8::1".to_owned()]);
    assert_eq!(texts(Family::V6, None), v6);
    assert_eq!(texts(Family::Any, Some("2001:db8::2")), v6);
    assert_eq!(
        texts(Family::V4, Some("2001:db8::2")),
        Err("no IPv4 address".to_owned())
    );
}

#[test]
fn an_address_needs_no_resolver_and_may_stand_in_brackets() {
    for host in ["2001:db8::1", "[2001:db8::1]"] {
        let found = resolve(host, Family::Any, None).unwrap();
        assert_eq!(found, [SocketAddr::new("2001:db8::1".parse().unwrap(), 0)]);
    }
}
