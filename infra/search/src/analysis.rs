//! What words a text has, as people write names of products: in capitals, with hyphens, numbers and abbreviations.
//!
//! A word is a run of letters or of digits, in small letters and without accents: `S/4 T-LIGHT 10CM` has the words `s`, `4`, `t`,
//! `light`, `10` and `cm`. An apostrophe is no boundary: `CHILDREN'S` is `childrens`. What is written apart, hyphenated or as one
//! is found either way by [`pairs`]: two words that follow each other, as one.

use std::borrow::Cow;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Bytes of a word at most; what is longer is cut.
const WORD_BYTES_MAX: usize = 60;

/// A word of a text, with the bytes that it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    pub text: String,
    pub start: usize,
    pub end: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Letter,
    Digit,
}

/// The words of a text, in its order.
pub fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut word: Option<(Word, Kind)> = None;
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let kind = match character {
            _ if character.is_ascii_digit() => Some(Kind::Digit),
            _ if character.is_alphabetic() || is_combining_mark(character) => Some(Kind::Letter),
            _ if character.is_numeric() => Some(Kind::Digit),
            _ => None,
        };
        let is_inside = matches!(word, Some((_, Kind::Letter)))
            && matches!(character, '\'' | '’' | '`')
            && characters.peek().is_some_and(|(_, next)| next.is_alphabetic());
        if is_inside {
            continue;
        }
        if word.as_ref().is_some_and(|(_, of)| Some(*of) != kind) {
            words.extend(word.take().map(|(word, _)| word));
        }
        if let Some(kind) = kind {
            let (word, _) = word.get_or_insert((Word { text: String::new(), start: at, end: at }, kind));
            word.end = at + character.len_utf8();
            if word.text.len() < WORD_BYTES_MAX {
                fold(character, &mut word.text);
            }
        }
    }
    words.extend(word.map(|(word, _)| word));
    words.retain(|word| !word.text.is_empty());
    words
}

/// A character in small letters, without its accents.
fn fold(character: char, into: &mut String) {
    match character {
        _ if character.is_ascii() => into.push(character.to_ascii_lowercase()),
        'ß' => into.push_str("ss"),
        'Æ' | 'æ' => into.push_str("ae"),
        'Œ' | 'œ' => into.push_str("oe"),
        'Ø' | 'ø' => into.push('o'),
        'Ł' | 'ł' => into.push('l'),
        _ => into
            .extend(std::iter::once(character).nfkd().filter(|&c| !is_combining_mark(c)).flat_map(char::to_lowercase)),
    }
}

/// Each two words that follow each other, as one.
pub fn pairs(words: &[Word]) -> impl Iterator<Item = String> {
    words.windows(2).map(|two| format!("{}{}", two[0].text, two[1].text))
}

/// Whether a word says little of what is wanted: it need not be there.
pub fn is_filler(word: &str) -> bool {
    matches!(
        word,
        "a" | "an" | "and" | "at" | "by" | "for" | "from" | "in" | "of" | "on" | "or" | "the" | "to" | "with" | "w"
    )
}

pub fn is_number(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit())
}

/// Other forms that the same word may have: as plural, as singular, as a number. Not all of them are words.
pub fn forms(word: &str) -> Vec<Cow<'_, str>> {
    const NUMBERS: [&str; 13] =
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];
    let mut forms: Vec<Cow<'_, str>> = Vec::new();
    if is_number(word) {
        forms.extend(word.parse().ok().and_then(|n: usize| NUMBERS.get(n)).map(|&name| name.into()));
        return forms;
    }
    forms.extend(NUMBERS.iter().position(|&name| name == word).map(|n| n.to_string().into()));
    if word.len() < 3 {
        return forms;
    }
    if let Some(stem) = word.strip_suffix("ies") {
        forms.push(format!("{stem}y").into());
    }
    if let Some(stem) = word.strip_suffix("ys") {
        forms.push(format!("{stem}ies").into()); // As people write it.
    }
    if let Some(stem) = word.strip_suffix("ves") {
        forms.extend([format!("{stem}f").into(), format!("{stem}fe").into()]);
    }
    if let Some(stem) = word.strip_suffix("es").filter(|stem| stem.len() > 2) {
        forms.push(stem.into());
    }
    match word.strip_suffix('s') {
        Some(stem) if !stem.ends_with('s') => forms.push(stem.into()),
        Some(_) => forms.push(format!("{word}es").into()), // glass
        None => {
            forms.push(format!("{word}s").into());
            if word.ends_with(['x', 'z', 'h', 'o']) {
                forms.push(format!("{word}es").into());
            }
            if let Some(stem) = word.strip_suffix('y') {
                forms.push(format!("{stem}ies").into());
            }
            if let Some(stem) = word.strip_suffix("fe").or_else(|| word.strip_suffix('f')) {
                forms.push(format!("{stem}ves").into());
            }
        }
    }
    forms
}

/// How many characters must be put in, left out, changed or swapped with their neighbour to make one word the other
/// (restricted Damerau-Levenshtein); of the beginning of `other` if `is_prefix`. `None`: more than `most`.
pub fn edits(word: &str, other: &str, is_prefix: bool, most: u8) -> Option<u8> {
    let (word, other): (Vec<char>, Vec<char>) = (word.chars().collect(), other.chars().collect());
    let most = usize::from(most);
    if !is_prefix && word.len().abs_diff(other.len()) > most {
        return None;
    }
    let reach = if is_prefix { other.len().min(word.len() + most) } else { other.len() };
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=reach).collect();
    for at in 1..=word.len() {
        let mut row = vec![at; reach + 1];
        for to in 1..=reach {
            let change = above[to - 1] + usize::from(word[at - 1] != other[to - 1]);
            row[to] = change.min(above[to] + 1).min(row[to - 1] + 1);
            if at > 1 && to > 1 && word[at - 1] == other[to - 2] && word[at - 2] == other[to - 1] {
                row[to] = row[to].min(before[to - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    let edits = if is_prefix { above.iter().copied().min().unwrap_or(usize::MAX) } else { above[reach] };
    (edits <= most).then_some(edits as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        words(text).into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn a_name_falls_into_runs_of_letters_and_of_digits() {
        assert_eq!(texts("S/4 T-LIGHT 10CM RED/WHITE"), ["s", "4", "t", "light", "10", "cm", "red", "white"]);
        assert_eq!(texts("CHILDREN'S \"Café\" Æbleskiver 70'S"), ["childrens", "cafe", "aebleskiver", "70", "s"]);
        assert_eq!(texts(" .,-'/ "), Vec::<String>::new());
    }

    #[test]
    fn a_word_knows_where_it_is() {
        let text = "Été, T-LIGHT";
        let of = |word: &Word| text[word.start..word.end].to_owned();
        assert_eq!(words(text).iter().map(of).collect::<Vec<_>>(), ["Été", "T", "LIGHT"]);
    }

    #[test]
    fn two_words_are_also_one() {
        assert_eq!(pairs(&words("LUNCH BOX T-LIGHT")).collect::<Vec<_>>(), ["lunchbox", "boxt", "tlight"]);
    }

    #[test]
    fn a_plural_is_found_by_its_singular_and_the_other_way_round() {
        for (one, many) in
            [("mug", "mugs"), ("box", "boxes"), ("berry", "berries"), ("knife", "knives"), ("glass", "glasses")]
        {
            assert!(forms(one).contains(&many.into()), "{one}");
            assert!(forms(many).contains(&one.into()), "{many}");
        }
        assert_eq!(forms("6"), ["six"]);
        assert!(forms("six").contains(&"6".into()));
    }

    #[test]
    fn edits_are_counted_with_a_swap_as_one() {
        assert_eq!(edits("heart", "haert", false, 2), Some(1));
        assert_eq!(edits("heart", "hearts", false, 2), Some(1));
        assert_eq!(edits("heart", "hat", false, 2), Some(2));
        assert_eq!(edits("heart", "apple", false, 2), None);
        assert_eq!(edits("chrsi", "christmas", true, 1), Some(1));
        assert_eq!(edits("", "", false, 0), Some(0));
    }
}
