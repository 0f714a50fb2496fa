//! `kontor token`.

use anyhow::{Context, anyhow};
use clap::Args;
use clap::builder::PossibleValuesParser;
use kontor_domain::CustomerId;
use kontor_identity::{IdentitySettings, Issue, Role, SigningKey};
use kontor_local::usual_data_folder;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

pub const EXAMPLES: &str = "Examples:
  export KONTOR_TOKEN=$(kontor token --role staff)
  curl -H \"Authorization: Bearer $KONTOR_TOKEN\" http://127.0.0.1:8081/v1/reports/sales?by=month
  kontor token --role customer --customer 17850           # sees and changes what is theirs only
  kontor token --role admin --subject ada --valid-for-min 10
  kontor token --role staff --data /tmp/kontor            # of a platform with its data elsewhere";

#[derive(Args)]
pub struct TokenOptions {
    /// What the caller is to the shop
    #[arg(long, value_parser = PossibleValuesParser::new(Role::OF_TOKENS.map(Role::name)))]
    role: String,
    /// The customer that the caller is; for role customer, and for no other
    #[arg(long, value_name = "ID")]
    customer: Option<CustomerId>,
    /// The caller's name, which events keep as their actor [default: the role, or customer-ID]
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,
    /// How long the token is good for, in minutes
    #[arg(long, value_name = "N", default_value_t = 720, value_parser = clap::value_parser!(u64).range(1..=525_600))]
    valid_for_min: u64,
    #[command(flatten)]
    data: Data,
}

#[derive(Args)]
pub struct Data {
    /// The data folder of the platform [default: that of infra/up]
    #[arg(long = "data", value_name = "DIR")]
    folder: Option<PathBuf>,
}

impl Data {
    /// Where the key is.
    fn identity(&self) -> anyhow::Result<PathBuf> {
        Ok(self.folder.clone().map_or_else(usual_data_folder, Ok)?.join("identity"))
    }
}

pub fn key(data: &Data) -> anyhow::Result<String> {
    let folder = data.identity()?;
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    SigningKey::find_or_make(&folder)?;
    Ok(std::path::absolute(SigningKey::public_file(&folder))?.display().to_string())
}

pub fn token(options: TokenOptions) -> anyhow::Result<String> {
    let TokenOptions { role, customer, subject, valid_for_min, data } = options;
    let role =
        Role::OF_TOKENS.into_iter().find(|known| known.name() == role).context("--role is none that is known")?;
    let subject = subject.unwrap_or_else(|| match &customer {
        Some(customer) => format!("customer-{customer}"),
        None => role.name().to_owned(),
    });
    let key = signing_key(&data)?;
    let issue = Issue { subject: subject.into(), role, customer, valid_for: Duration::from_secs(valid_for_min * 60) };
    issue.sign(&key, &IdentitySettings::default()).map_err(|rule| anyhow!("--customer: {rule}"))
}

/// A token of somebody who may edit the catalogue, for an hour.
pub fn staff(data: &Data) -> anyhow::Result<String> {
    let valid_for = Duration::from_secs(3_600);
    let issue = Issue { subject: Role::Staff.name().into(), role: Role::Staff, customer: None, valid_for };
    issue.sign(&signing_key(data)?, &IdentitySettings::default()).map_err(|rule| anyhow!("{rule}"))
}

fn signing_key(data: &Data) -> anyhow::Result<SigningKey> {
    SigningKey::find(&data.identity()?).context(
        "there is no platform whose key could sign: start one with infra/up, or say where its data is with --data",
    )
}
