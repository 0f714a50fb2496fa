//! The mails, as they were received, under a line for the sender and one for each recipient, as mail servers write them when
//! they deliver; a thousand to a file, since making a file for each cost more than all the rest. What is listed is kept in
//! memory.

use mail_parser::{Address, MessageParser};
use parking_lot::Mutex;
use serde::Serialize;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

const MAILS_IN_A_FILE: u64 = 1_000;
const SUFFIX: &str = ".mails";

/// A mail as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mail {
    /// 1, 2, 3 ... in the order of arrival.
    pub number: u64,
    /// Without its angle brackets; empty if the mail has none.
    pub message_id: String,
    pub from: String,
    /// Those that the mail was for, as the sender told the server.
    pub recipients: Vec<String>,
    pub subject: String,
    /// Seconds since 1970, UTC.
    pub received_at_s: u64,
    pub text: String,
    pub html: String,
}

/// Keeps the newest `keep_max` mails.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    keep_max: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Oldest first.
    mails: VecDeque<(Mail, Place)>,
    last_number: u64,
    /// The file that is written to.
    open: Option<Open>,
}

/// Where a mail lies: in the file that begins with the mail numbered `file`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    file: u64,
    offset: u64,
    length: usize,
}

#[derive(Debug)]
struct Open {
    file: File,
    first: u64,
    end: u64,
}

const DELIVERED_TO: &str = "Delivered-To";

impl Store {
    /// With the mails that are in `folder`.
    pub fn open(folder: &Path, keep_max: usize) -> io::Result<Store> {
        fs::create_dir_all(folder)?;
        let mut files: Vec<u64> = Vec::new();
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name();
            let first = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
            files.extend(first.and_then(|first| first.parse::<u64>().ok()));
        }
        files.sort_unstable();
        let mut kept = Kept::default();
        for first in files {
            kept.read(first, &fs::read(path(folder, first))?);
        }
        let store = Store { folder: folder.to_owned(), keep_max, kept: Mutex::new(kept) };
        store.forget_old(&mut store.kept.lock());
        Ok(store)
    }

    /// Keeps a mail; `data` is its header and body.
    pub fn keep(&self, sender: &str, recipients: &[String], data: &[u8]) -> io::Result<()> {
        let mut text = format!("Return-Path: <{sender}>\r\n").into_bytes();
        for recipient in recipients {
            text.extend_from_slice(format!("{DELIVERED_TO}: {recipient}\r\n").as_bytes());
        }
        text.extend_from_slice(data);
        let received_at_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut kept = self.kept.lock();
        let mail = read(kept.last_number + 1, received_at_s, &text).ok_or(io::ErrorKind::InvalidData)?;
        kept.write(&self.folder, mail, &text)?;
        self.forget_old(&mut kept);
        Ok(())
    }

    /// Up to `most`, the newest first.
    pub fn mails(&self, most: usize) -> Vec<Mail> {
        self.kept.lock().mails.iter().rev().take(most).map(|(mail, _)| mail.clone()).collect()
    }

    pub fn count(&self) -> usize {
        self.kept.lock().mails.len()
    }

    pub fn mail(&self, number: u64) -> Option<Mail> {
        self.kept.lock().find(number).map(|(mail, _)| mail.clone())
    }

    /// The mail as it was received.
    pub fn raw(&self, number: u64) -> io::Result<Vec<u8>> {
        let kept = self.kept.lock(); // The file is not deleted meanwhile.
        let (_, place) = kept.find(number).ok_or(io::ErrorKind::NotFound)?;
        let mut text = vec![0; place.length];
        File::open(path(&self.folder, place.file))?.read_exact_at(&mut text, place.offset)?;
        Ok(text)
    }

    fn forget_old(&self, kept: &mut Kept) {
        while kept.mails.len() > self.keep_max {
            let Some((_, forgotten)) = kept.mails.pop_front() else { return };
            let file_is_needed = kept.mails.front().is_some_and(|(_, oldest)| oldest.file == forgotten.file);
            if !file_is_needed {
                let _ = fs::remove_file(path(&self.folder, forgotten.file)); // Gone already is as good.
            }
        }
    }
}

impl Kept {
    fn find(&self, number: u64) -> Option<&(Mail, Place)> {
        let oldest = self.mails.front()?.0.number;
        self.mails.get(usize::try_from(number.checked_sub(oldest)?).ok()?)
    }

    /// Takes in the mails of a file. What a crash has cut off at its end was never acknowledged.
    fn read(&mut self, first: u64, bytes: &[u8]) {
        let mut offset = 0;
        while let Some(end) = bytes[offset..].iter().position(|byte| *byte == b'\n') {
            let line = std::str::from_utf8(&bytes[offset..offset + end]).unwrap_or_default();
            let mut words = line.split(' ').map(str::parse::<u64>);
            let (Some(Ok(number)), Some(Ok(received_at_s)), Some(Ok(length))) =
                (words.next(), words.next(), words.next())
            else {
                return;
            };
            let (begin, length) = (offset + end + 1, length as usize);
            let Some(text) = bytes.get(begin..begin + length) else { return };
            let place = Place { file: first, offset: begin as u64, length };
            self.mails.extend(read(number, received_at_s, text).map(|mail| (mail, place)));
            self.last_number = number;
            offset = begin + length;
        }
    }

    /// A mail begins with a line of its number, when it was received, and its length in bytes.
    fn write(&mut self, folder: &Path, mail: Mail, text: &[u8]) -> io::Result<()> {
        let open = match &mut self.open {
            Some(open) if mail.number - open.first < MAILS_IN_A_FILE => open,
            full => full.insert(Open { file: File::create(path(folder, mail.number))?, first: mail.number, end: 0 }),
        };
        let mut record = format!("{} {} {}\n", mail.number, mail.received_at_s, text.len()).into_bytes();
        let place = Place { file: open.first, offset: open.end + record.len() as u64, length: text.len() };
        record.extend_from_slice(text);
        open.file.write_all_at(&record, open.end)?;
        open.end += record.len() as u64;
        self.last_number = mail.number;
        self.mails.push_back((mail, place));
        Ok(())
    }
}

fn path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first}{SUFFIX}"))
}

/// `None`: it has no header at all.
fn read(number: u64, received_at_s: u64, text: &[u8]) -> Option<Mail> {
    let message = MessageParser::default().parse(text)?;
    let headers = message.headers_raw();
    let delivered = headers.filter(|(name, _)| name.eq_ignore_ascii_case(DELIVERED_TO));
    let body = |body: Option<std::borrow::Cow<'_, str>>| body.map(|body| body.into_owned()).unwrap_or_default();
    Some(Mail {
        number,
        message_id: message.message_id().unwrap_or_default().to_owned(),
        from: message.from().and_then(Address::first).and_then(|from| from.address()).unwrap_or_default().to_owned(),
        recipients: delivered.map(|(_, value)| value.trim().to_owned()).collect(),
        subject: message.subject().unwrap_or_default().to_owned(),
        received_at_s,
        text: body(message.body_text(0)),
        html: body(message.body_html(0)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Folder;

    const MAIL: &[u8] = b"From: Shop <orders@example.org>\r\nMessage-ID: <1@example.org>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\
        Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\nHello\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>Hello\r\n--b--\r\n";

    #[test]
    fn a_mail_is_kept_over_a_restart() {
        let folder = Folder::temporary("mails").expect("a folder");
        let store = Store::open(folder.path(), 10).expect("a store");
        store.keep("orders@example.org", &["ada@example.com".into()], MAIL).expect("it is kept");
        let [mail] = store.mails(10).try_into().expect("one mail");
        assert_eq!((mail.message_id.as_str(), mail.subject.as_str()), ("1@example.org", "Gr\u{fc}\u{df}e"));
        assert_eq!(
            (mail.from.as_str(), mail.recipients.as_slice()),
            ("orders@example.org", &["ada@example.com".into()][..])
        );
        assert_eq!((mail.text.trim(), mail.html.trim()), ("Hello", "<p>Hello"));
        assert!(store.raw(1).expect("the file").ends_with(MAIL));

        let again = Store::open(folder.path(), 10).expect("a store");
        assert_eq!(again.mails(10), [mail]);
        again.keep("", &[], MAIL).expect("it is kept");
        assert_eq!(again.mails(1)[0].number, 2);
        assert!(again.raw(1).expect("the first").ends_with(MAIL) && again.raw(2).expect("the second").ends_with(MAIL));
    }

    #[test]
    fn what_a_crash_cut_off_is_not_there() {
        let folder = Folder::temporary("mails").expect("a folder");
        let store = Store::open(folder.path(), 10).expect("a store");
        for _ in 0..2 {
            store.keep("", &[], MAIL).expect("it is kept");
        }
        let file = path(folder.path(), 1);
        let bytes = fs::read(&file).expect("both mails");
        fs::write(&file, &bytes[..bytes.len() - 1]).expect("it is cut");
        let again = Store::open(folder.path(), 10).expect("a store");
        assert_eq!(again.mails(10).iter().map(|mail| mail.number).collect::<Vec<_>>(), [1]);
        again.keep("", &[], MAIL).expect("it is kept");
        assert_eq!(again.mails(10).len(), 2);
    }

    #[test]
    fn a_file_goes_with_the_last_of_its_mails() {
        let folder = Folder::temporary("mails").expect("a folder");
        let store = Store::open(folder.path(), 1).expect("a store");
        for _ in 0..=MAILS_IN_A_FILE {
            store.keep("", &[], MAIL).expect("it is kept");
        }
        assert!(!path(folder.path(), 1).exists() && path(folder.path(), MAILS_IN_A_FILE + 1).exists());
    }

    #[test]
    fn the_oldest_make_room_for_the_newest() {
        let folder = Folder::temporary("mails").expect("a folder");
        let store = Store::open(folder.path(), 2).expect("a store");
        for _ in 0..3 {
            store.keep("", &[], MAIL).expect("it is kept");
        }
        assert_eq!(store.mails(10).iter().map(|mail| mail.number).collect::<Vec<_>>(), [3, 2]);
        assert!(store.raw(1).is_err() && store.raw(2).is_ok());
    }
}
