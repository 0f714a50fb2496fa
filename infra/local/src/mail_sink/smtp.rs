//! The server's side of SMTP (RFC 5321), as far as taking mail from one's own programs goes. Requests and the dots of the
//! data are read by smtp-proto, which Stalwart's mail server reads them with.

use super::behaviour::{Behaviours, Reticence};
use super::security::{Answer, Asked, Encryption, Security};
use super::store::Store;
use smtp_proto::request::receiver::{DataReceiver, RequestReceiver};
use smtp_proto::{Error, Request};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// No mail may be larger, in bytes.
const SIZE_MAX: usize = 10 << 20;
const RECIPIENTS_MAX: usize = 100;
/// RFC 4954, section 4.
const RESPONSE_MAX: usize = 12_288;
/// RFC 5321, section 4.5.3.2.7.
const IDLE_MAX: Duration = Duration::from_secs(300);

/// Answers whoever connects, until it is dropped.
pub async fn serve(listener: TcpListener, store: Arc<Store>, behaviours: Arc<Behaviours>, security: Security) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let session = Session {
                    store: store.clone(),
                    behaviours: behaviours.clone(),
                    security: security.clone(),
                    is_encrypted: false,
                    is_known: false,
                    asked: None,
                    envelope: None,
                };
                tokio::spawn(async move {
                    let _ = session.begin(stream).await; // Whoever is gone need not be told.
                });
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await, // Too many open files, as a rule.
        }
    }
}

/// A connection, encrypted or not.
trait Line: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Line for T {}

/// One connection.
struct Session {
    store: Arc<Store>,
    behaviours: Arc<Behaviours>,
    security: Security,
    is_encrypted: bool,
    /// Whether they have said who they are.
    is_known: bool,
    /// What they are being asked about that.
    asked: Option<Asked>,
    envelope: Option<Envelope>,
}

#[derive(Default)]
struct Envelope {
    sender: String,
    recipients: Vec<String>,
}

/// What to do after an answer.
#[derive(PartialEq)]
enum Next {
    Command,
    Data,
    HangUp,
    /// Go on encrypted. What was sent before counts as not said.
    Encrypt,
    /// Say nothing more.
    Silence,
}

impl Session {
    async fn begin(mut self, stream: TcpStream) -> io::Result<()> {
        let mut stream: Box<dyn Line> = match &self.security.encryption {
            Encryption::Implicit(acceptor) => {
                self.is_encrypted = true;
                Box::new(timeout(IDLE_MAX, acceptor.accept(stream)).await.map_err(io::Error::from)??)
            }
            Encryption::None | Encryption::Starttls(_) => Box::new(stream),
        };
        stream.write_all(b"220 kontor-mail-sink ESMTP\r\n").await?;
        stream.flush().await?;
        while self.run(&mut stream).await? == Next::Encrypt
            && let Encryption::Starttls(acceptor) = &self.security.encryption
        {
            stream = Box::new(timeout(IDLE_MAX, acceptor.accept(stream)).await.map_err(io::Error::from)??);
            (self.is_encrypted, self.is_known, self.envelope) = (true, false, None);
        }
        Ok(())
    }

    /// Takes requests until the connection ends, or is to be encrypted.
    async fn run(&mut self, stream: &mut Box<dyn Line>) -> io::Result<Next> {
        let mut requests = RequestReceiver::default();
        let mut data: Option<(DataReceiver, Vec<u8>)> = None;
        let mut response = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = timeout(IDLE_MAX, stream.read(&mut buffer)).await.map_err(io::Error::from)??;
            if read == 0 {
                return Ok(Next::HangUp);
            }
            let mut bytes = buffer[..read].iter();
            // Several requests may come at once (RFC 2920); their answers go back together.
            let mut answers = String::new();
            let mut next = Next::Command;
            while !matches!(next, Next::HangUp | Next::Silence | Next::Encrypt) && !bytes.as_slice().is_empty() {
                next = match data.take() {
                    Some((mut receiver, mut mail)) => {
                        if receiver.ingest(&mut bytes, &mut mail) {
                            self.delivered(&mail, &mut answers)
                        } else if mail.len() > SIZE_MAX {
                            answers.push_str("552 5.3.4 The mail is too large\r\n");
                            Next::HangUp
                        } else {
                            data = Some((receiver, mail));
                            Next::Command
                        }
                    }
                    None if self.asked.is_some() => {
                        match bytes.next() {
                            Some(b'\n') => self.hear(&std::mem::take(&mut response), &mut answers),
                            byte => response.extend(byte),
                        }
                        if response.len() > RESPONSE_MAX {
                            answers.push_str("500 5.5.6 The line is too long\r\n");
                            Next::HangUp
                        } else {
                            Next::Command
                        }
                    }
                    None => match requests.ingest(&mut bytes) {
                        Ok(request) => self.answer(request, &mut answers),
                        Err(Error::NeedsMoreData { .. }) => break,
                        Err(Error::ResponseTooLong) => {
                            answers.push_str("500 5.5.6 The line is too long\r\n");
                            Next::HangUp
                        }
                        Err(_) => {
                            answers.push_str("500 5.5.2 This is not understood\r\n");
                            Next::Command
                        }
                    },
                };
                if next == Next::Data {
                    data = Some((DataReceiver::new(), Vec::new()));
                }
            }
            stream.write_all(answers.as_bytes()).await?;
            stream.flush().await?; // Encryption may keep some back.
            match next {
                Next::Encrypt => return Ok(next),
                Next::HangUp => {
                    stream.shutdown().await?;
                    return Ok(next);
                }
                Next::Silence => {
                    while stream.read(&mut buffer).await? > 0 {}
                    return Ok(next);
                }
                Next::Command | Next::Data => {}
            }
        }
    }

    fn answer(&mut self, request: Request<std::borrow::Cow<'_, str>>, answers: &mut String) -> Next {
        let answer = match request {
            Request::Ehlo { .. } => {
                self.envelope = None;
                let offers = self.offers();
                &format!(
                    "250-kontor-mail-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n{offers}250 SIZE {SIZE_MAX}"
                )
            }
            Request::Helo { .. } => {
                self.envelope = None;
                "250 kontor-mail-sink"
            }
            Request::StartTls if self.is_encrypted => "503 5.5.1 It is encrypted",
            Request::StartTls if matches!(self.security.encryption, Encryption::Starttls(_)) => {
                answers.push_str("220 2.0.0 Go on\r\n");
                return Next::Encrypt;
            }
            Request::Auth { mechanism, initial_response } => {
                self.authenticate(mechanism, &initial_response, answers);
                return Next::Command;
            }
            Request::Mail { .. } if self.wants_encryption() => "530 5.7.0 STARTTLS comes first",
            Request::Mail { .. } if self.security.account.is_some() && !self.is_known => "530 5.7.0 AUTH comes first",
            Request::Mail { .. } if self.envelope.is_some() => "503 5.5.1 There is a mail under way",
            Request::Mail { from } if from.size > SIZE_MAX => "552 5.3.4 The mail is too large",
            Request::Mail { from } => {
                self.envelope = Some(Envelope { sender: from.address.into_owned(), recipients: Vec::new() });
                "250 2.1.0 Go on"
            }
            Request::Rcpt { to } => match (&mut self.envelope, self.behaviours.refusal(&to.address)) {
                (None, _) => "503 5.5.1 MAIL comes first",
                (Some(_), Some(code)) => {
                    &format!("{code} {}.0.0 <{}> is refused, as was asked for", code / 100, to.address)
                }
                (Some(envelope), None) if envelope.recipients.len() < RECIPIENTS_MAX => {
                    envelope.recipients.push(to.address.into_owned());
                    "250 2.1.5 Go on"
                }
                _ => "452 4.5.3 Too many recipients",
            },
            Request::Data => match &self.envelope {
                Some(envelope) if !envelope.recipients.is_empty() => {
                    answers.push_str("354 End with a dot on a line\r\n");
                    return Next::Data;
                }
                _ => "503 5.5.1 RCPT comes first",
            },
            Request::Rset => {
                self.envelope = None;
                "250 2.0.0 Forgotten"
            }
            Request::Noop { .. } => "250 2.0.0 Still here",
            Request::Vrfy { .. } => "252 2.1.5 Try and see",
            Request::Quit => {
                answers.push_str("221 2.0.0 Goodbye\r\n");
                return Next::HangUp;
            }
            _ => "502 5.5.1 This is not done here",
        };
        answers.push_str(answer);
        answers.push_str("\r\n");
        Next::Command
    }

    fn wants_encryption(&self) -> bool {
        matches!(self.security.encryption, Encryption::Starttls(_)) && !self.is_encrypted
    }

    /// What there is besides, in answer to EHLO: a password is asked for only where nobody can read it.
    fn offers(&self) -> String {
        let account = self.security.account.as_ref().filter(|_| self.is_encrypted);
        let starttls = self.wants_encryption().then_some("250-STARTTLS\r\n".to_owned());
        let auth = account.map(|account| format!("250-AUTH {}\r\n", account.mechanism.name()));
        starttls.into_iter().chain(auth).collect()
    }

    fn authenticate(&mut self, mechanism: u64, initial_response: &str, answers: &mut String) {
        let account = self.security.account.as_ref().filter(|_| self.is_encrypted);
        let Some(account) = account.filter(|account| account.mechanism.is(mechanism)) else {
            answers.push_str("504 5.5.4 This is not offered\r\n");
            return;
        };
        let (asked, answer) = account.begin();
        self.asked = Some(asked);
        if initial_response.is_empty() {
            self.tell(answer, answers);
        } else {
            self.hear(initial_response.as_bytes(), answers);
        }
    }

    /// Takes a line of what somebody says of who they are.
    fn hear(&mut self, line: &[u8], answers: &mut String) {
        let (Some(asked), Some(account)) = (self.asked.take(), &self.security.account) else { return };
        let (asked, answer) = account.hear(asked, String::from_utf8_lossy(line).trim_end());
        self.asked = asked;
        self.tell(answer, answers);
    }

    fn tell(&mut self, answer: Answer, answers: &mut String) {
        match answer {
            Answer::Challenge(challenge) => answers.push_str(&format!("334 {challenge}\r\n")),
            Answer::Known(true) => {
                self.is_known = true;
                answers.push_str("235 2.7.0 Welcome\r\n");
            }
            Answer::Known(false) => answers.push_str("535 5.7.8 User and password do not match\r\n"),
        }
    }

    /// Keeps a whole mail and says so, unless it is to keep that to itself.
    fn delivered(&mut self, mail: &[u8], answers: &mut String) -> Next {
        let Envelope { sender, recipients } = self.envelope.take().unwrap_or_default();
        if mail.len() > SIZE_MAX {
            answers.push_str("552 5.3.4 The mail is too large\r\n");
            return Next::Command;
        }
        if let Err(error) = self.store.keep(&sender, &recipients, mail) {
            answers.push_str(&format!("451 4.3.0 The mail cannot be kept: {error}\r\n"));
            return Next::Command;
        }
        if let Some(reticence) = recipients.iter().find_map(|recipient| self.behaviours.reticence(recipient)) {
            answers.clear();
            return match reticence {
                Reticence::HangUp => Next::HangUp,
                Reticence::SayNothing => Next::Silence,
            };
        }
        answers.push_str("250 2.0.0 Kept\r\n");
        Next::Command
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Behaviour, MailSink};
    use super::*;
    use crate::Folder;

    struct Client {
        stream: TcpStream,
        sink: MailSink,
        _folder: Folder,
    }

    impl Client {
        async fn connect() -> Self {
            let folder = Folder::temporary("sink").expect("a folder");
            let sink = MailSink::start(folder.path(), 0, 0, 10).await.expect("the sink starts");
            let stream = TcpStream::connect(("127.0.0.1", sink.smtp_port())).await.expect("it listens");
            Self { stream, sink, _folder: folder }
        }

        /// Sends all at once and hangs up; the codes of the answers, as far as they came.
        async fn say(mut self, text: &str) -> (Vec<String>, MailSink) {
            let _ = self.stream.write_all(text.as_bytes()).await; // It may have had enough before the end.
            let _ = self.stream.shutdown().await;
            let mut answers = Vec::new();
            let _ = self.stream.read_to_end(&mut answers).await;
            let answers = String::from_utf8(answers).expect("ASCII");
            (answers.lines().map(|line| line[..4].trim_end().to_owned()).collect(), self.sink)
        }
    }

    #[tokio::test]
    async fn requests_may_come_all_at_once_and_dots_are_what_they_were() {
        let client = Client::connect().await;
        let talk = "EHLO me\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nSubject: dots\r\n\r\n..\r\n.. two\r\n\
                    not\n.\nthe end\r\n.\r\nMAIL FROM:<>\r\nRSET\r\nQUIT\r\n";
        let (codes, sink) = client.say(talk).await;
        assert_eq!(
            codes,
            ["220", "250-", "250-", "250-", "250-", "250", "250", "250", "354", "250", "250", "250", "221"]
        );
        let [mail] = sink.mails().try_into().expect("one mail");
        assert_eq!(mail.text.replace("\r\n", "\n"), ".\n. two\nnot\n.\nthe end\n");
        assert_eq!(mail.recipients, ["b@example.org"]);
    }

    #[tokio::test]
    async fn what_comes_too_early_or_is_no_request_is_refused() {
        let talk = "RCPT TO:<b@example.org>\r\nDATA\r\nHELLO?\r\nMAIL FROM:<a@example.org>\r\nDATA\r\nQUIT\r\n";
        let (codes, sink) = Client::connect().await.say(talk).await;
        assert_eq!(codes, ["220", "503", "503", "500", "250", "503", "221"]);
        assert!(sink.mails().is_empty());
    }

    #[tokio::test]
    async fn a_mail_that_is_too_large_is_refused_before_or_after() {
        let talk = format!("MAIL FROM:<a@example.org> SIZE={}\r\nQUIT\r\n", SIZE_MAX + 1);
        let (codes, _) = Client::connect().await.say(&talk).await;
        assert_eq!(codes, ["220", "552", "221"]);
        let line = "x".repeat(998) + "\r\n";
        let start = "MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n";
        let (_, sink) = Client::connect().await.say(&format!("{start}{}", line.repeat(SIZE_MAX / 1_000 + 2))).await;
        assert!(sink.mails().is_empty());
    }

    #[tokio::test]
    async fn it_misbehaves_when_told_to() {
        let client = Client::connect().await;
        client.sink.behave("b@example.org", Behaviour::Refuse { code: 451, times: Some(1) });
        client.sink.behave("c@example.org", Behaviour::KeepAndHangUp { times: None });
        let talk = "MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nRCPT TO:<b@example.org>\r\n\
                    RCPT TO:<c@example.org>\r\nDATA\r\nSubject: x\r\n\r\n.\r\nQUIT\r\n";
        let (codes, sink) = client.say(talk).await;
        assert!(codes.len() <= 1, "the line broke before the answers: {codes:?}");
        assert_eq!(sink.mails().len(), 1);
        assert_eq!(sink.mails()[0].recipients, ["b@example.org", "c@example.org"]);
    }
}
