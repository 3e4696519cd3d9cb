//! Secrets and ranges of ports, in every form that people write them.

use super::*;

#[test]
fn a_secret_is_read_in_every_form_that_it_is_written_in() {
    let key = secret("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").unwrap();
    let forms = [
        "gezdgnbvgy3tqojqgezdgnbvgy3tqojq",
        "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ\n",
        "GEZDGNBV-GY3TQOJQ-GEZDGNBV-GY3TQOJQ",
        "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ====",
    ];
    for form in forms {
        assert_eq!(secret(form).as_ref(), Some(&key), "{form}");
    }
    assert_eq!(
        base32(b"12345678901234567890"),
        "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    );
    for wrong in ["", "====", "GEZDGNB1", "GE ZD!", "A", "GEZDGNBVé"] {
        assert_eq!(secret(wrong), None, "{wrong}");
    }
}

#[test]
fn a_range_has_two_ends_in_order() {
    assert_eq!(ports("20000-29999"), Some((20_000, 29_999)));
    assert_eq!(ports("1 - 1"), Some((1, 1)));
    for wrong in ["", "5", "0-9", "9-8", "1-65536", "-1-5", "a-b"] {
        assert_eq!(ports(wrong), None, "{wrong}");
    }
}
