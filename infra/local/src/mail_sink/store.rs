//! The mails: one file each, as it was received, under a line for the sender and one for each recipient, as mail servers
//! write them when they deliver. What is listed is kept in memory.

use mail_parser::{Address, MessageParser};
use parking_lot::Mutex;
use serde::Serialize;
use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

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

/// Oldest first.
#[derive(Debug, Default)]
struct Kept {
    mails: VecDeque<Mail>,
    last_number: u64,
}

const DELIVERED_TO: &str = "Delivered-To";

impl Store {
    /// With the mails that are in `folder`.
    pub fn open(folder: &Path, keep_max: usize) -> io::Result<Store> {
        fs::create_dir_all(folder)?;
        let mut kept = Kept::default();
        let mut numbers: Vec<u64> = Vec::new();
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".eml"));
            numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        for number in numbers {
            let path = file(folder, number);
            let received_at = fs::metadata(&path)?.modified()?;
            kept.mails.extend(read(number, received_at, &fs::read(&path)?));
            kept.last_number = number;
        }
        let store = Store { folder: folder.to_owned(), keep_max, kept: Mutex::new(kept) };
        store.forget_old(&mut store.kept.lock());
        Ok(store)
    }

    /// Keeps a mail; `data` is its header and body.
    pub fn keep(&self, sender: &str, recipients: &[String], data: &[u8]) -> io::Result<()> {
        let mut file_text = format!("Return-Path: <{sender}>\r\n").into_bytes();
        for recipient in recipients {
            file_text.extend_from_slice(format!("{DELIVERED_TO}: {recipient}\r\n").as_bytes());
        }
        file_text.extend_from_slice(data);
        let mut kept = self.kept.lock();
        let number = kept.last_number + 1;
        let mail = read(number, SystemTime::now(), &file_text).ok_or(io::ErrorKind::InvalidData)?;
        fs::write(file(&self.folder, number), &file_text)?;
        kept.last_number = number;
        kept.mails.push_back(mail);
        self.forget_old(&mut kept);
        Ok(())
    }

    /// Up to `most`, the newest first.
    pub fn mails(&self, most: usize) -> Vec<Mail> {
        self.kept.lock().mails.iter().rev().take(most).cloned().collect()
    }

    pub fn count(&self) -> usize {
        self.kept.lock().mails.len()
    }

    pub fn mail(&self, number: u64) -> Option<Mail> {
        self.kept.lock().mails.iter().rev().find(|mail| mail.number == number).cloned()
    }

    /// The mail as it was received.
    pub fn raw(&self, number: u64) -> io::Result<Vec<u8>> {
        fs::read(file(&self.folder, number))
    }

    fn forget_old(&self, kept: &mut Kept) {
        while kept.mails.len() > self.keep_max {
            if let Some(oldest) = kept.mails.pop_front() {
                let _ = fs::remove_file(file(&self.folder, oldest.number)); // Gone already is as good.
            }
        }
    }
}

fn file(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number}.eml"))
}

/// `None`: it has no header at all.
fn read(number: u64, received_at: SystemTime, file_text: &[u8]) -> Option<Mail> {
    let message = MessageParser::default().parse(file_text)?;
    let headers = message.headers_raw();
    let delivered = headers.filter(|(name, _)| name.eq_ignore_ascii_case(DELIVERED_TO));
    let text = |body: Option<std::borrow::Cow<'_, str>>| body.map(|body| body.into_owned()).unwrap_or_default();
    Some(Mail {
        number,
        message_id: message.message_id().unwrap_or_default().to_owned(),
        from: message.from().and_then(Address::first).and_then(|from| from.address()).unwrap_or_default().to_owned(),
        recipients: delivered.map(|(_, value)| value.trim().to_owned()).collect(),
        subject: message.subject().unwrap_or_default().to_owned(),
        received_at_s: received_at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        text: text(message.body_text(0)),
        html: text(message.body_html(0)),
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
