use super::*;

const USERS: &str = "\
root:x:0:0:root:/root:/bin/bash
# no user
+::::::
knock:x:998:997:J\u{fffd}rg, Room 1:/var/lib/knock:/usr/sbin/nologin
1000:x:5:5::/five:/bin/sh
ann:x:1000:1000::/home/ann:/bin/sh";
const GROUPS: &str = "\
root:x:0:
adm:x:4:syslog,knock
knock:x:997:knock
knocks:x:5:knocker,ann
netdev:x:106:ann,knock";

#[test]
fn a_user_has_its_own_group_first_and_each_other_once() {
    let knock = find("knock", USERS, GROUPS).unwrap();
    assert_eq!((knock.uid, knock.gid), (998, 997));
    assert_eq!(knock.groups, [997, 4, 106]);
    assert_eq!(&*knock.home, "/var/lib/knock");
    assert_eq!(find("998", USERS, GROUPS), Some(knock));
}

#[test]
fn a_name_of_digits_comes_before_a_number() {
    assert_eq!(find("1000", USERS, GROUPS).unwrap().uid, 5);
    assert_eq!(number_of("ann", USERS), Some(1000));
    assert_eq!(number_of("knock", GROUPS), Some(997));
    assert_eq!(number_of("syslog", GROUPS), None);
}

#[test]
fn a_missing_account_is_none() {
    for name in ["knoc", "", "#", "+", "4711"] {
        assert_eq!(find(name, USERS, GROUPS), None, "{name}");
    }
}
