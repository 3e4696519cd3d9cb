//! How much of a log is kept, and that the page is safe to open.

use super::*;
use crate::engine::event::{Event, Whence};
use crate::engine::reason::Reason;
use crate::replay::Summary;

fn shown(src: IpAddr, second: i64, kind: EventKind) -> Shown {
    let at = Time::from_secs(1_700_000_000 + second);
    let event = Event {
        at,
        door: "ssh".into(),
        src,
        kind,
        whence: Some(Whence { source: 0, line: 7 }),
    };
    Shown {
        event,
        time: Some(at),
    }
}

fn knock(report: &mut Report, src: IpAddr, second: i64, steps: usize) {
    for stage in 1..=steps {
        let kind = EventKind::Stage { stage, of: 3 };
        report.see(&Seen::Event(shown(src, second, kind)));
    }
    if steps == 3 {
        report.see(&Seen::Event(shown(src, second, EventKind::Open)));
    }
}

fn address(number: u32) -> IpAddr {
    IpAddr::from(number.to_be_bytes())
}

#[test]
fn a_flood_of_addresses_and_events_leaves_a_page_of_a_few_megabytes_with_the_knocker_in_it() {
    let mut report = Report::default();
    knock(&mut report, address(7), 0, 3);
    for number in 1000..101_000 {
        knock(&mut report, address(number), 1, 1);
    }
    for number in 200_000..200_500 {
        for second in 0..1000 {
            knock(&mut report, address(number), second * 100, 2);
        }
    }
    assert!(report.sources.len() <= 2 * MAX_SOURCES);
    let name = "/var/log/".to_owned() + &"a".repeat(200);
    let page = page(&report, &Summary::default(), &[name.clone(), name]);
    assert!(page.len() < 8 << 20, "{}", page.len());
    assert!(page.contains("<h3>0.0.0.7</h3>"), "who opened is kept");
    assert_eq!(page.matches("<article").count(), MAX_SOURCES);
    assert!(page.matches("<span class=\"stage\">").count() <= MAX_EVENTS);
    assert!(
        page.contains("1\u{202f}100\u{202f}004"),
        "totals are of everything"
    );
}

#[test]
fn the_addresses_that_sent_most_are_kept_though_they_knock_at_no_door() {
    let mut report = Report::default();
    let packet = |src, verdict| Seen::Packet {
        src,
        whole: None,
        time: None,
        verdict,
    };
    for _ in 0..50 {
        report.see(&packet(address(7), Err(Reason::Duplicate)));
    }
    for number in 1000..20_000 {
        report.see(&packet(address(number), Ok(())));
    }
    let page = page(&report, &Summary::default(), &["a".to_owned()]);
    assert!(page.contains("<th scope=\"row\">0.0.0.7</th><td>0</td><td>50</td>"));
    assert!(page.contains("Nobody: no packet was the first step"));
}

#[test]
fn what_is_not_ours_is_escaped_and_no_request_is_allowed() {
    let mut report = Report::default();
    let mut event = shown(address(7), 0, EventKind::Open);
    event.event.door = "<img src=x onerror=\"y\">&".into();
    report.see(&Seen::Event(event));
    let name = "</title><script>'\u{1b}\"".to_owned();
    let page = page(&report, &Summary::default(), &[name]);
    assert!(page.contains("&lt;/title&gt;&lt;script&gt;'\u{fffd}&quot;"));
    assert!(page.contains("&lt;img src=x onerror=&quot;y&quot;&gt;&amp;"));
    assert!(!page.contains("<script") && !page.contains("<img"));
    assert!(page.contains("content=\"default-src 'none';"));
    for way_out in ["http:", "https:", "url(", "@import", "src=\"", " on"] {
        let is_in_a_tag = page
            .split('<')
            .skip(1)
            .filter_map(|tag| tag.split('>').next());
        let mut tags = is_in_a_tag.filter(|tag| tag.contains(way_out));
        assert_eq!(tags.next(), None, "{way_out}");
    }
}

#[test]
fn a_timeline_shows_seconds_and_days_alike() {
    let mut report = Report::default();
    let src = address(7);
    for day in 0..3 {
        knock(&mut report, src, day * 86_400, 3);
        let close = shown(src, day * 86_400 + 30, EventKind::Close);
        report.see(&Seen::Event(close));
    }
    let page = page(&report, &Summary::default(), &["a".to_owned()]);
    assert_eq!(
        page.matches("<circle class=\"stage\"").count(),
        9 + 1,
        "and one in the legend"
    );
    assert_eq!(page.matches("<rect class=\"open\"").count(), 3 + 1);
    assert_eq!(page.matches("class=\"gap\"").count(), 2);
    assert!(page.contains(">23h59m</text>"), "the gaps are shown");
}
