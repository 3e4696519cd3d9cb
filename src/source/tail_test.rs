//! A descriptor that fails.

use super::*;

#[test]
fn a_descriptor_that_fails_is_replaced_and_reading_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kern.log");
    let mut tail = Tail::new(path.clone(), Options::default());
    let fill = |text: &str| {
        let mut file = File::create(&path).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    };
    let mut got = Vec::new();
    let mut read = |tail: &mut Tail, seconds| {
        let now = Duration::from_secs(seconds);
        while tail.poll(now, &mut |yielded| match yielded {
            Yield::Lines { bytes, .. } => got.extend_from_slice(bytes),
            Yield::Dropped(reason) => got.extend_from_slice(reason.as_str().as_bytes()),
        }) == Pace::More
        {}
        std::mem::take(&mut got)
    };
    assert_eq!(read(&mut tail, 1), b"");
    fill("one\nhalf");
    assert_eq!(read(&mut tail, 1), b"one\n");
    for (second, text) in [(2, "one\nhalf two\n"), (3, "one\nhalf two\nthree\n")] {
        // Its first page cannot be read: EIO.
        let failing = File::open("/proc/self/mem").unwrap();
        tail.current.as_mut().unwrap().replace(failing);
        fill(text);
        let new = text.lines().last().unwrap();
        assert_eq!(read(&mut tail, second), format!("{new}\n").as_bytes());
        assert_eq!(tail.trouble(), None);
    }
}
