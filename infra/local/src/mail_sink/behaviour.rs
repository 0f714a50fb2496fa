//! How the sink misbehaves, so that tests can see what a sender does about it.

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// What the sink does instead of taking mail for a recipient. `times`: so often, then it takes it; `None`: always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Behaviour {
    /// Answers `RCPT` with this code: 400 to 499 for a while, 500 to 599 for good.
    Refuse { code: u16, times: Option<u32> },
    /// Keeps the mail and hangs up before it says so, as if the line had broken then.
    KeepAndHangUp { times: Option<u32> },
    /// Keeps the mail and says nothing more, until the sender hangs up.
    KeepAndSayNothing { times: Option<u32> },
}

/// How an answer is withheld.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reticence {
    HangUp,
    SayNothing,
}

/// By recipient, in lower case; `*` is for all without a rule of their own.
#[derive(Debug, Default)]
pub struct Behaviours(Mutex<HashMap<String, Behaviour>>);

impl Behaviours {
    pub fn set(&self, recipient: &str, behaviour: Behaviour) {
        self.0.lock().insert(recipient.to_ascii_lowercase(), behaviour);
    }

    pub fn clear(&self) {
        self.0.lock().clear();
    }

    /// The code with which mail for `recipient` is to be refused now.
    pub fn refusal(&self, recipient: &str) -> Option<u16> {
        self.use_up(recipient, |behaviour| match behaviour {
            Behaviour::Refuse { code, times } => Some((*code, times)),
            Behaviour::KeepAndHangUp { .. } | Behaviour::KeepAndSayNothing { .. } => None,
        })
    }

    /// What to do in place of saying that mail for `recipient` is kept.
    pub fn reticence(&self, recipient: &str) -> Option<Reticence> {
        self.use_up(recipient, |behaviour| match behaviour {
            Behaviour::KeepAndHangUp { times } => Some((Reticence::HangUp, times)),
            Behaviour::KeepAndSayNothing { times } => Some((Reticence::SayNothing, times)),
            Behaviour::Refuse { .. } => None,
        })
    }

    fn use_up<T>(
        &self,
        recipient: &str,
        applies: impl Fn(&mut Behaviour) -> Option<(T, &mut Option<u32>)>,
    ) -> Option<T> {
        let mut behaviours = self.0.lock();
        let own = recipient.to_ascii_lowercase();
        let name = if behaviours.contains_key(&own) { own } else { "*".to_owned() };
        let (what, times) = applies(behaviours.get_mut(&name)?)?;
        if let Some(times) = times {
            *times = times.checked_sub(1)?;
        }
        Some(what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_counts_for_its_recipient_and_for_so_many_times() {
        let behaviours = Behaviours::default();
        behaviours.set("Ada@example.com", Behaviour::Refuse { code: 451, times: Some(2) });
        behaviours.set("*", Behaviour::KeepAndHangUp { times: None });
        let refusals: Vec<_> = (0..3).map(|_| behaviours.refusal("ada@EXAMPLE.com")).collect();
        assert_eq!(refusals, [Some(451), Some(451), None]);
        assert_eq!(behaviours.reticence("ada@example.com"), None);
        assert_eq!(behaviours.reticence("bob@example.com"), Some(Reticence::HangUp));
        assert_eq!(behaviours.refusal("bob@example.com"), None);
        behaviours.clear();
        assert_eq!(behaviours.reticence("bob@example.com"), None);
    }
}
