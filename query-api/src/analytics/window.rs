//! Of which time: from one beginning of a bucket to another, and the fewest rows that it is the sum of.

use crate::parameters::Parameters;
use crate::problem::Problem;
use chrono::{DateTime, NaiveDate, Utc};
use kontor_projection_services::projections::analytics::Resolution;

pub const FROM: &str = "from";
pub const TO: &str = "to";

const RULE: &str = "must be a time in UTC, a day or a month, such as 2010-12, from 1900 to 2200";

/// `from` is part of it, `to` is not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
}

/// Part of a window: whole buckets of one resolution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Piece {
    pub resolution: Resolution,
    pub window: Window,
}

impl Window {
    /// Both ends must be where a bucket of this resolution begins.
    pub fn of(parameters: &Parameters, resolution: Resolution) -> Result<Self, Problem> {
        let end = |name| {
            let at = moment(parameters.needed(name)?).ok_or_else(|| Problem::parameter(name, RULE))?;
            match resolution.floor(at) == at {
                true => Ok(at),
                false => {
                    Err(Problem::parameter(name, format_args!("must be the beginning of a {}", resolution.name())))
                }
            }
        };
        let (from, to) = (end(FROM)?, end(TO)?);
        match from < to {
            true => Ok(Window { from, to }),
            false => Err(Problem::parameter(TO, "must be after from")),
        }
    }

    /// Where its buckets begin, at most so many.
    pub fn buckets(self, resolution: Resolution, most: usize) -> Vec<DateTime<Utc>> {
        let next = |at: &DateTime<Utc>| Some(resolution.next(*at)).filter(|next| *next < self.to);
        std::iter::successors(Some(self.from), next).take(most).collect()
    }

    /// The one of the same length that ends where this one begins.
    pub fn before(self) -> Self {
        Window { from: self.from - (self.to - self.from), to: self.from }
    }

    /// What it consists of, in the longest buckets of these resolutions, which go from short to long.
    pub fn pieces(self, resolutions: &[Resolution]) -> Vec<Piece> {
        let Some((&longest, shorter)) = resolutions.split_last() else { return Vec::new() };
        let Window { from, to } = self;
        let floor = longest.floor(from);
        let (begin, end) = (if floor == from { from } else { longest.next(floor) }, longest.floor(to));
        if begin >= end {
            return self.pieces(shorter);
        }
        let middle = Piece { resolution: longest, window: Window { from: begin, to: end } };
        let mut pieces = Window { from, to: begin }.pieces(shorter);
        pieces.push(middle);
        pieces.extend(Window { from: end, to }.pieces(shorter));
        pieces
    }
}

/// RFC 3339, a day or a month, of which it is the beginning.
fn moment(text: &str) -> Option<DateTime<Utc>> {
    let day = |text: &str| Some(text.parse::<NaiveDate>().ok()?.and_time(chrono::NaiveTime::MIN).and_utc());
    let at = match text.len() {
        7 => day(&format!("{text}-01"))?,
        10 => day(text)?,
        _ => DateTime::parse_from_rfc3339(text).ok()?.to_utc(),
    };
    let within = day("1900-01-01")?..=day("2200-01-01")?;
    within.contains(&at).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(from: &str, to: &str) -> Window {
        Window { from: moment(from).expect(from), to: moment(to).expect(to) }
    }

    fn pieces(from: &str, to: &str) -> Vec<(Resolution, Window)> {
        let pieces = window(from, to).pieces(&Resolution::ALL);
        pieces.into_iter().map(|Piece { resolution, window }| (resolution, window)).collect()
    }

    #[test]
    fn a_window_is_the_sum_of_its_longest_buckets() {
        use Resolution::*;
        assert_eq!(pieces("2010-12", "2011-12"), [(Month, window("2010-12", "2011-12"))]);
        assert_eq!(pieces("2010-12-02", "2010-12-09"), [(Day, window("2010-12-02", "2010-12-09"))]);
        let expected = [
            (Minute, window("2010-11-29T22:58:00Z", "2010-11-29T23:00:00Z")),
            (Hour, window("2010-11-29T23:00:00Z", "2010-11-30")),
            (Day, window("2010-11-30", "2010-12-01")),
            (Month, window("2010-12", "2011-01")),
            (Hour, window("2011-01-01", "2011-01-01T01:00:00Z")),
            (Minute, window("2011-01-01T01:00:00Z", "2011-01-01T01:01:00Z")),
        ];
        assert_eq!(pieces("2010-11-29T22:58:00Z", "2011-01-01T01:01:00Z"), expected);
    }

    #[test]
    fn a_time_is_written_in_three_ways_and_in_no_other() {
        let december = moment("2010-12-01T00:00:00Z");
        assert!(december.is_some());
        for text in ["2010-12", "2010-12-01", "2010-12-01T01:00:00+01:00"] {
            assert_eq!(moment(text), december, "{text}");
        }
        for text in ["", "2010", "2010-13", "2010-02-30", "1899-12-31", "2200-02", "december", "+10000-01-01T00:00:00Z"]
        {
            assert_eq!(moment(text), None, "{text}");
        }
    }

    #[test]
    fn the_buckets_of_a_window_are_those_that_begin_in_it() {
        let months = window("2010-12", "2011-03").buckets(Resolution::Month, 100);
        assert_eq!(months, ["2010-12", "2011-01", "2011-02"].map(|text| moment(text).expect(text)));
        assert_eq!(window("2010-12", "2011-03").buckets(Resolution::Minute, 100).len(), 100);
        assert_eq!(window("2010-12-08", "2010-12-15").before(), window("2010-12-01", "2010-12-08"));
    }
}
