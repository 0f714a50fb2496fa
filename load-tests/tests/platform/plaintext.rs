//! Looks for words in bytes, however they are written down.

use aho_corasick::AhoCorasick;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use std::collections::BTreeSet;
use std::fmt::Write;

/// Words, in plain, in base64 and in hexadecimal, in any case.
pub struct Plaintext {
    words: Vec<&'static str>,
    /// Of each pattern the word that it is.
    meanings: Vec<usize>,
    patterns: AhoCorasick,
}

impl Plaintext {
    /// `words` are of ASCII letters and digits, so that both alphabets of base64 write them alike.
    pub fn of(words: &[&'static str]) -> Self {
        let (mut patterns, mut meanings) = (Vec::new(), Vec::new());
        for (meaning, word) in words.iter().enumerate() {
            assert!(word.chars().all(|c| c.is_ascii_alphanumeric()), "{word}");
            patterns.extend([word.to_string(), hexadecimal(word)]);
            patterns.extend((0..3).map(|before| base64(word, before)));
            meanings.resize(patterns.len(), meaning);
        }
        let patterns = AhoCorasick::builder().ascii_case_insensitive(true).build(patterns).expect("few patterns");
        Self { words: words.to_vec(), meanings, patterns }
    }

    /// The words that are in there.
    pub fn seen_in(&self, bytes: &[u8]) -> BTreeSet<&'static str> {
        let found = self.patterns.find_overlapping_iter(bytes);
        found.map(|found| self.words[self.meanings[found.pattern().as_usize()]]).collect()
    }
}

fn hexadecimal(word: &str) -> String {
    word.bytes().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

/// The letters that are the word's alone when `before` bytes come before it, modulo 3, and any after it.
fn base64(word: &str, before: usize) -> String {
    let bytes = [&vec![0; before][..], word.as_bytes()].concat();
    let text = STANDARD_NO_PAD.encode(&bytes);
    text[(before * 8).div_ceil(6)..bytes.len() * 8 / 6].to_owned()
}

#[test]
fn words_are_seen_however_they_are_written_down() {
    let plaintext = Plaintext::of(&["Quackenthorpe", "447700900417"]);
    let seen = |bytes: &[u8]| plaintext.seen_in(bytes).into_iter().collect::<Vec<_>>();
    assert_eq!(seen(b"\0Zebulonia Quackenthorpe,+447700900417"), ["447700900417", "Quackenthorpe"]);
    assert_eq!(seen(b"zebulonia@QUACKENTHORPE.example"), ["Quackenthorpe"]);
    assert_eq!(seen(b"Quackenthorp e and 44770090041"), [""; 0]);
    for text in ["Quackenthorpe", "a Quackenthorpe", "Miss Quackenthorpe", "Ms Quackenthorpe!", "x:Quackenthorpe\n"] {
        assert_eq!(seen(STANDARD_NO_PAD.encode(text).as_bytes()), ["Quackenthorpe"], "{text}");
        assert_eq!(seen(hexadecimal(text).to_uppercase().as_bytes()), ["Quackenthorpe"], "{text}");
    }
}
