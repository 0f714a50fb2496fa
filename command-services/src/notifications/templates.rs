//! What a mail looks like: Jinja templates, built in, of which a folder may replace any.
//!
//! Each kind of mail has a text, `order-confirmed.txt`, that begins with its subject, and a page, `order-confirmed.html`,
//! in which all that comes from outside is escaped.

use super::letter::Letter;
use super::occasion::Kind;
use super::settings::MailSettings;
use anyhow::{Context, Result, bail};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value, context};
use serde::Serialize;
use std::path::Path;

const BUILT_IN: [(&str, &str); 10] = [
    ("base.html", include_str!("templates/base.html")),
    ("base.txt", include_str!("templates/base.txt")),
    ("order-confirmed.html", include_str!("templates/order-confirmed.html")),
    ("order-confirmed.txt", include_str!("templates/order-confirmed.txt")),
    ("shipped.html", include_str!("templates/shipped.html")),
    ("shipped.txt", include_str!("templates/shipped.txt")),
    ("refunded.html", include_str!("templates/refunded.html")),
    ("refunded.txt", include_str!("templates/refunded.txt")),
    ("cart-abandoned.html", include_str!("templates/cart-abandoned.html")),
    ("cart-abandoned.txt", include_str!("templates/cart-abandoned.txt")),
];

/// Every text begins with a line of this and the subject, then an empty line.
const SUBJECT: &str = "Subject: ";

/// A mail as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    pub subject: String,
    pub text: String,
    pub html: String,
}

/// The shop, as mails name it.
#[derive(Debug, Serialize)]
struct Shop {
    name: String,
    url: String,
}

pub struct Templates {
    environment: Environment<'static>,
    shop: Value,
}

impl Templates {
    /// # Errors
    /// A template that cannot be read or is none, by name.
    pub fn load(settings: &MailSettings) -> Result<Self> {
        let mut environment = Environment::new(); // Escapes in what is called .html.
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
        for (name, source) in BUILT_IN {
            environment.add_template(name, source).with_context(|| format!("the built-in template {name}"))?;
        }
        if let Some(folder) = &settings.templates_folder {
            for (name, _) in BUILT_IN {
                replace(&mut environment, name, &folder.join(name))?;
            }
        }
        let shop = Shop { name: settings.shop_name.clone(), url: settings.base_url.clone() };
        Ok(Self { environment, shop: Value::from(Serde(shop)) })
    }

    pub fn render(&self, letter: &Letter) -> Result<Rendered> {
        let kind = letter.kind();
        let values = context! { shop => self.shop.clone(), ..Serde(letter) };
        let text = self.fill(kind, "txt", values.clone())?;
        let html = self.fill(kind, "html", values)?;
        let (subject, text) = match text.strip_prefix(SUBJECT).and_then(|text| text.split_once('\n')) {
            Some((subject, text)) => (subject.trim().to_owned(), text.trim_start_matches('\n').to_owned()),
            None => bail!("{kind}.txt does not begin with a line \"{SUBJECT}...\""),
        };
        Ok(Rendered { subject, text, html })
    }

    fn fill(&self, kind: Kind, form: &str, values: Value) -> Result<String> {
        let name = format!("{kind}.{form}");
        let template = self.environment.get_template(&name).with_context(|| format!("the template {name}"))?;
        template.render(values).with_context(|| format!("the template {name}"))
    }
}

/// Takes the template from `file`, if there is such a file.
fn replace(environment: &mut Environment<'static>, name: &'static str, file: &Path) -> Result<()> {
    let at = || format!("mail.templates_folder: {}", file.display());
    if !file.try_exists().with_context(at)? {
        return Ok(());
    }
    let source = std::fs::read_to_string(file).with_context(at)?;
    environment.add_template_owned(name, source).with_context(at)
}

#[cfg(test)]
mod tests;
