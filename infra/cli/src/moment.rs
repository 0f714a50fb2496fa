//! A moment in the log.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};

/// A position, or the time that it was recorded at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Position(i64),
    Time(DateTime<Utc>),
}

impl std::str::FromStr for Moment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(position) = text.parse() {
            return Ok(Moment::Position(position));
        }
        if let Ok(day) = text.parse::<NaiveDate>() {
            return Ok(Moment::Time(day.and_time(NaiveTime::MIN).and_utc()));
        }
        match DateTime::parse_from_rfc3339(text) {
            Ok(time) => Ok(Moment::Time(time.to_utc())),
            Err(_) => {
                Err("must be a position of the log, a time such as 2026-11-24T12:00:00Z, or a day such as 2026-11-24")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_times_and_days_are_told_apart() {
        assert_eq!("4711".parse(), Ok(Moment::Position(4711)));
        let midnight = DateTime::from_timestamp(1_795_478_400, 0).map(Moment::Time);
        assert_eq!("2026-11-24".parse().ok(), midnight);
        assert_eq!("2026-11-24T01:00:00+01:00".parse().ok(), midnight);
        for wrong in ["", "noon", "2026-11-24T12:00", "2026-13-01", "1.5"] {
            assert!(wrong.parse::<Moment>().is_err(), "{wrong}");
        }
    }
}
