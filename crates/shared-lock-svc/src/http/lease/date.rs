//! Times as Go's `time.Time` takes them from JSON.

/// Whether `text` is a strict RFC 3339 time: two-digit fields within their ranges, a day that the
/// month has, upper-case `T` and `Z`, no leap second.
pub(super) fn is_rfc3339(text: &[u8]) -> bool {
    let Some((date_time, rest)) = text.split_at_checked(19) else {
        return false;
    };
    let [
        year @ ..,
        b'-',
        _,
        _,
        b'-',
        _,
        _,
        b'T',
        _,
        _,
        b':',
        _,
        _,
        b':',
        _,
        _,
    ] = date_time
    else {
        return false;
    };
    let field = |at: usize| number(&date_time[at..at + 2]);
    let (Some(year), Some(month), Some(day)) = (number(year), field(5), field(8)) else {
        return false;
    };
    let (Some(hour), Some(minute), Some(second)) = (field(11), field(14), field(17)) else {
        return false;
    };
    (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60
        && is_zone(without_fraction(rest))
}

fn number(digits: &[u8]) -> Option<u32> {
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u32::from(byte - b'0'));
    digits
        .iter()
        .try_fold(0, |number, byte| Some(number * 10 + digit(byte)?))
}

fn days_in(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// What follows `.` and its digits; a point without digits stays, and is no zone.
fn without_fraction(rest: &[u8]) -> &[u8] {
    let Some(fraction) = rest.strip_prefix(b".") else {
        return rest;
    };
    match fraction
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count()
    {
        0 => rest,
        digits => &fraction[digits..],
    }
}

fn is_zone(zone: &[u8]) -> bool {
    match zone {
        b"Z" => true,
        [b'+' | b'-', hour @ .., b':', _, _] if hour.len() == 2 => {
            number(hour).is_some_and(|hour| hour < 24)
                && number(&zone[4..]).is_some_and(|minute| minute < 60)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_rfc3339;

    #[test]
    fn what_go_takes_is_a_time() {
        for text in [
            "2024-02-29T00:00:00Z",
            "2023-12-31T23:59:59.123456789+05:30",
            "0000-01-01T00:00:00-00:00",
            "2000-02-29T12:00:00.1Z",
        ] {
            assert!(is_rfc3339(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_go_refuses_is_none() {
        for text in [
            "",
            "2023-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-04-31T00:00:00Z",
            "2024-01-01t00:00:00Z",
            "2024-01-01T00:00:00z",
            "2024-01-01T00:00:00",
            "2024-01-01 00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:60:00Z",
            "2024-01-01T00:00:60Z",
            "2024-01-01T0:00:00Z",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00,5Z",
            "2024-01-01T00:00:00+24:00",
            "2024-01-01T00:00:00+05:60",
            "2024-01-01T00:00:00+0530",
            "2024-01-01T00:00:00Zx",
            "12024-01-01T00:00:00Z",
            "2024-1-01T00:00:00Z",
        ] {
            assert!(!is_rfc3339(text.as_bytes()), "{text}");
        }
    }
}
