//! The W3C `traceparent` header (Trace Context, level 1): which trace something belongs to, and which span caused it.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use rand::Rng;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes in `00-<trace id>-<parent id>-<flags>`.
const LENGTH: usize = 55;
const SAMPLED: u8 = 0x01;

/// A place in a trace: the trace, the span in it that is the parent of what comes next, and whether the trace is
/// recorded. Neither id is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceParent {
    trace_id: u128,
    span_id: u64,
    sampled: bool,
}

/// The text is no `traceparent` as the W3C defines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a W3C traceparent: 00-<32 lowercase hex digits>-<16>-<2>, ids not zero")]
pub struct InvalidTraceParent;

impl TraceParent {
    /// A new trace, begun here. Costs tens of nanoseconds: the ids are from the thread's own generator.
    pub fn new_root(sampled: bool) -> Self {
        TraceParent { trace_id: rand::rng().random_range(1..=u128::MAX), span_id: new_span_id(), sampled }
    }

    /// The same trace with a new span, which is what a child of ours is to name as its parent.
    pub fn child(&self) -> Self {
        TraceParent { span_id: new_span_id(), ..*self }
    }

    /// Reads a header. As the W3C asks, a version that is not known yet may have more after the flags.
    ///
    /// # Errors
    /// [`InvalidTraceParent`] for any other length, for upper case, and for ids of zero.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidTraceParent> {
        let version = hex(text.get(..2).ok_or(InvalidTraceParent)?)? as u8;
        let known_length = match version {
            0x00 => text.len() == LENGTH,
            0xff => false,
            _ => text.len() == LENGTH || text.get(LENGTH) == Some(&b'-'),
        };
        if !known_length || [text[2], text[35], text[52]] != [b'-'; 3] {
            return Err(InvalidTraceParent);
        }
        let (trace_id, span_id, flags) = (hex(&text[3..35])?, hex(&text[36..52])? as u64, hex(&text[53..55])? as u8);
        if trace_id == 0 || span_id == 0 {
            return Err(InvalidTraceParent);
        }
        Ok(TraceParent { trace_id, span_id, sampled: flags & SAMPLED != 0 })
    }

    /// The header's text, on the stack.
    pub fn text(&self) -> TraceParentText {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(&mut text[3..35], &self.trace_id.to_be_bytes());
        write_hex(&mut text[36..52], &self.span_id.to_be_bytes());
        text[54] += u8::from(self.sampled);
        TraceParentText(text)
    }

    /// Whether the one who began the trace wants it recorded.
    pub fn sampled(&self) -> bool {
        self.sampled
    }

    /// 16 bytes; the trace id in the order in which it is written.
    pub fn trace_id(&self) -> [u8; 16] {
        self.trace_id.to_be_bytes()
    }

    /// 8 bytes; the span id in the order in which it is written.
    pub fn span_id(&self) -> [u8; 8] {
        self.span_id.to_be_bytes()
    }

    pub(crate) fn span_context(&self) -> SpanContext {
        let flags = if self.sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
        let (trace_id, span_id) = (TraceId::from(self.trace_id), SpanId::from(self.span_id));
        SpanContext::new(trace_id, span_id, flags, true, TraceState::NONE)
    }

    pub(crate) fn of_context(context: &SpanContext) -> Option<Self> {
        context.is_valid().then(|| TraceParent {
            trace_id: u128::from_be_bytes(context.trace_id().to_bytes()),
            span_id: u64::from_be_bytes(context.span_id().to_bytes()),
            sampled: context.is_sampled(),
        })
    }
}

fn new_span_id() -> u64 {
    rand::rng().random_range(1..=u64::MAX)
}

fn hex(digits: &[u8]) -> Result<u128, InvalidTraceParent> {
    digits.iter().try_fold(0, |number, digit| match digit {
        b'0'..=b'9' => Ok(number << 4 | u128::from(digit - b'0')),
        b'a'..=b'f' => Ok(number << 4 | u128::from(digit - b'a' + 10)),
        _ => Err(InvalidTraceParent),
    })
}

fn write_hex(text: &mut [u8], bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0xf)];
    }
}

impl FromStr for TraceParent {
    type Err = InvalidTraceParent;

    fn from_str(text: &str) -> Result<Self, InvalidTraceParent> {
        TraceParent::parse(text.as_bytes())
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl Serialize for TraceParent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

impl<'de> Deserialize<'de> for TraceParent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The 55 ASCII characters of a [`TraceParent`]. Derefs to `str`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceParentText([u8; LENGTH]);

impl Deref for TraceParentText {
    type Target = str;

    fn deref(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hex digits and dashes are ASCII")
    }
}

impl fmt::Debug for TraceParentText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Display for TraceParentText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_example_of_the_standard_is_read_and_written() {
        let parent: TraceParent = EXAMPLE.parse().expect("is valid");
        assert_eq!(parent.trace_id(), 0x4bf92f3577b34da6a3ce929d0e0e4736_u128.to_be_bytes());
        assert_eq!(parent.span_id(), 0x00f067aa0ba902b7_u64.to_be_bytes());
        assert!(parent.sampled());
        assert_eq!(&*parent.text(), EXAMPLE);
        assert_eq!(TraceParent::of_context(&parent.span_context()), Some(parent));
    }

    #[test]
    fn flags_other_than_sampled_are_neither_an_error_nor_passed_on() {
        let parent: TraceParent = EXAMPLE.replace("-01", "-fe").parse().expect("is valid");
        assert!(!parent.sampled());
        assert!(parent.text().ends_with("-00"));
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        for later in [EXAMPLE.replacen("00", "01", 1), format!("{}-what-else", EXAMPLE.replacen("00", "cc", 1))] {
            assert_eq!(&*later.parse::<TraceParent>().expect("is valid").text(), EXAMPLE);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let refused = [
            String::new(),
            "00".to_owned(),
            EXAMPLE[..54].to_owned(),
            format!("{EXAMPLE}0"),
            format!("{EXAMPLE}-"),
            EXAMPLE.to_uppercase(),
            EXAMPLE.replace('-', "_"),
            EXAMPLE.replacen("00", "ff", 1),
            EXAMPLE.replacen("00", "+0", 1),
            EXAMPLE.replace("4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000000000"),
            EXAMPLE.replace("00f067aa0ba902b7", "0000000000000000"),
            EXAMPLE.replace("-01", "-0g"),
            format!("{}x", EXAMPLE.replacen("00", "01", 1)),
            EXAMPLE.replace("4bf9", "4b\u{e9}"),
        ];
        for text in refused {
            assert_eq!(text.parse::<TraceParent>(), Err(InvalidTraceParent), "{text}");
        }
    }

    #[test]
    fn a_child_stays_in_the_trace_under_an_id_of_its_own() {
        let root = TraceParent::new_root(true);
        let child = root.child();
        assert_eq!((child.trace_id(), child.sampled()), (root.trace_id(), true));
        assert_ne!(child.span_id(), root.span_id());
        assert_ne!(TraceParent::new_root(true).trace_id(), root.trace_id());
    }

    #[test]
    fn in_json_it_is_its_text() {
        let json = serde_json::to_string(&EXAMPLE.parse::<TraceParent>().expect("is valid")).expect("is text");
        assert_eq!(json, format!("{EXAMPLE:?}"));
        assert_eq!(serde_json::from_str::<TraceParent>(&json).expect("is valid").to_string(), EXAMPLE);
    }
}
