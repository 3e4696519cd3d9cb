use super::*;

const HOUR: i64 = 3600;

/// Clocks of which the wall clock shows `ahead` seconds more than it should, `now` seconds after the boot.
fn clocks(now: i64, ahead: i64) -> (Time, Time) {
    let boot = Time::from_secs(now);
    (Time::from_secs(1_790_000_000 + now + ahead), boot)
}

fn jumps() -> Jumps {
    let (wall, boot) = clocks(100, 0);
    Jumps::new(wall, boot)
}

fn look(jumps: &mut Jumps, now: i64, ahead: i64) -> Option<i64> {
    let (wall, boot) = clocks(now, ahead);
    jumps.look(wall, boot).map(|jump| jump.ahead_seconds)
}

fn status(jumps: &Jumps, now: i64) -> Option<(i64, u64)> {
    let jump = jumps.status(Time::from_secs(now))?;
    Some((jump.ahead_seconds, jump.seconds_ago))
}

#[test]
fn a_clock_that_runs_has_not_jumped() {
    let mut jumps = jumps();
    for now in [101, 5_000, 900_000] {
        // What an NTP daemon steps at its start.
        assert_eq!(look(&mut jumps, now, 9), None);
        assert_eq!(status(&jumps, now), None);
    }
}

#[test]
fn a_jump_ahead_or_back_is_told_once_and_known_for_an_hour() {
    for ahead in [3 * HOUR, -3 * HOUR, 10, -10] {
        let mut jumps = jumps();
        assert_eq!(look(&mut jumps, 200, ahead), Some(ahead));
        assert_eq!(look(&mut jumps, 201, ahead), None, "once");
        assert_eq!(status(&jumps, 260), Some((ahead, 60)));
        assert_eq!(look(&mut jumps, 200 + HOUR, ahead), None);
        assert_eq!(status(&jumps, 200 + HOUR), Some((ahead, 3600)));
        assert_eq!(look(&mut jumps, 201 + HOUR, ahead), None);
        assert_eq!(status(&jumps, 201 + HOUR), None, "it is forgotten");
        // What comes then is seen from there.
        assert_eq!(look(&mut jumps, 202 + HOUR, ahead + 60), Some(60));
    }
}

#[test]
fn a_jump_that_is_undone_is_none() {
    let mut jumps = jumps();
    assert_eq!(look(&mut jumps, 200, 3 * HOUR), Some(3 * HOUR));
    assert_eq!(look(&mut jumps, 300, 1), None);
    assert_eq!(status(&jumps, 300), None);
    // Two in a row add up.
    assert_eq!(look(&mut jumps, 400, 60), Some(60));
    assert_eq!(look(&mut jumps, 500, 90), Some(90));
    assert_eq!(status(&jumps, 500), Some((90, 0)));
}
