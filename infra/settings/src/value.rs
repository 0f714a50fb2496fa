//! From what is given to the types that want it: a deserializer that reads a variable's text as the kind its field has,
//! and that names the setting in every error.

use std::cell::Cell;
use std::collections::{BTreeMap, btree_map};
use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer, Unexpected, Visitor,
};

use crate::error::{Setting, SettingsError};
use crate::secret::{MASK, SECRET_TYPE};
use crate::source::Given;

/// # Errors
/// [`SettingsError::Refused`] for the first setting of the wrong kind.
pub(crate) fn read<T: DeserializeOwned>(given: BTreeMap<String, Given>) -> Result<T, SettingsError> {
    T::deserialize(Reader { given: Given::Table(given), secret: &Cell::new(false) }).map_err(|refused| {
        SettingsError::Refused {
            setting: Setting(refused.path),
            given: refused.given,
            origin: refused.origin,
            rule: refused.rule,
        }
    })
}

/// A refused value. Its type knows the rule, the tables around it know what was given and where.
#[derive(Debug)]
struct Refused {
    path: Vec<String>,
    given: Option<String>,
    origin: Option<String>,
    rule: String,
}

impl Refused {
    fn rule(rule: String) -> Self {
        Refused { path: Vec::new(), given: None, origin: None, rule }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.join("."), self.rule)
    }
}

impl std::error::Error for Refused {}

/// serde's own texts repeat the value that they refuse, which may be a secret.
impl de::Error for Refused {
    fn custom<M: fmt::Display>(rule: M) -> Self {
        Refused::rule(rule.to_string())
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Refused::rule(format!("must be {expected}"))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Refused::rule(format!("must be {expected}"))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Refused::rule(format!("must be one of {}", expected.join(", ")))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let rule = format!("is no setting, only {} are", expected.join(", "));
        Refused { path: vec![field.to_owned()], ..Refused::rule(rule) }
    }

    fn missing_field(field: &'static str) -> Self {
        Refused { path: vec![field.to_owned()], ..Refused::rule("must be set".to_owned()) }
    }
}

/// Reads one value. Sets `secret` when the type that it is for wants to be kept out of errors.
struct Reader<'a> {
    given: Given,
    secret: &'a Cell<bool>,
}

fn origin(given: &Given) -> Option<String> {
    match given {
        Given::Table(_) => None,
        Given::Text(_) => Some("the environment".to_owned()),
        Given::Typed(_, path) => Some(path.display().to_string()),
    }
}

fn shown(given: &Given) -> Option<String> {
    Some(match given {
        Given::Table(_) => return None,
        Given::Text(text) | Given::Typed(toml::Value::String(text), _) => format!("{text:?}"),
        Given::Typed(toml::Value::Integer(number), _) => number.to_string(),
        Given::Typed(toml::Value::Float(number), _) => number.to_string(),
        Given::Typed(toml::Value::Boolean(truth), _) => truth.to_string(),
        Given::Typed(toml::Value::Datetime(time), _) => time.to_string(),
        Given::Typed(toml::Value::Array(_) | toml::Value::Table(_), _) => "a list".to_owned(),
    })
}

macro_rules! whole_numbers {
    ($($deserialize:ident $visit:ident $number:ty),*) => {$(
        fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
                let number = match &self.given {
                    Given::Text(text) => text.parse::<$number>().ok(),
                    Given::Typed(toml::Value::Integer(number), _) => <$number>::try_from(*number).ok(),
                    _ => None,
                };
                let (min, max) = (<$number>::MIN, <$number>::MAX);
                let number = number.ok_or_else(|| Refused::rule(format!("must be a whole number from {min} to {max}")))?;
                visitor.$visit(number)
        }
    )*};
}

macro_rules! texts {
    ($($deserialize:ident)*) => {$(
        fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
            match self.given {
                Given::Text(text) | Given::Typed(toml::Value::String(text), _) => visitor.visit_string(text),
                _ => Err(Refused::rule("must be text".to_owned())),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Refused;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        match &self.given {
            Given::Table(_) => self.deserialize_map(visitor),
            Given::Text(_) => self.deserialize_string(visitor),
            Given::Typed(value, _) => match value {
                toml::Value::String(_) => self.deserialize_string(visitor),
                toml::Value::Integer(_) => self.deserialize_i64(visitor),
                toml::Value::Float(_) => self.deserialize_f64(visitor),
                toml::Value::Boolean(_) => self.deserialize_bool(visitor),
                toml::Value::Datetime(time) => visitor.visit_string(time.to_string()),
                toml::Value::Array(_) | toml::Value::Table(_) => self.deserialize_seq(visitor),
            },
        }
    }

    whole_numbers! {
        deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16, deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64, deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32, deserialize_u64 visit_u64 u64
    }

    texts! { deserialize_str deserialize_string deserialize_char deserialize_identifier }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let number = match &self.given {
            Given::Text(text) => text.parse::<f64>().ok(),
            Given::Typed(toml::Value::Float(number), _) => Some(*number),
            Given::Typed(toml::Value::Integer(number), _) => Some(*number as f64),
            _ => None,
        };
        let finite = number.filter(|number| number.is_finite());
        visitor.visit_f64(finite.ok_or_else(|| Refused::rule("must be a number".to_owned()))?)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let truth = match &self.given {
            Given::Text(text) => text.parse::<bool>().ok(),
            Given::Typed(toml::Value::Boolean(truth), _) => Some(*truth),
            _ => None,
        };
        visitor.visit_bool(truth.ok_or_else(|| Refused::rule("must be true or false".to_owned()))?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &str, visitor: V) -> Result<V::Value, Refused> {
        if name == SECRET_TYPE {
            self.secret.set(true);
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let items: Vec<Given> = match self.given {
            Given::Text(text) => text.split(',').map(|item| Given::Text(item.trim().to_owned())).collect(),
            Given::Typed(toml::Value::Array(items), path) => {
                items.into_iter().map(|item| crate::source::from_file(item, &path)).collect()
            }
            _ => return Err(Refused::rule("must be a list".to_owned())),
        };
        let secret = self.secret;
        visitor.visit_seq(SeqDeserializer::new(items.into_iter().map(|given| Reader { given, secret })))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        match self.given {
            Given::Table(table) => visitor.visit_map(Fields::of(table)),
            _ => Err(Refused::rule("must be a table of settings".to_owned())),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        match self.given {
            Given::Text(text) | Given::Typed(toml::Value::String(text), _) => {
                visitor.visit_enum(StrDeserializer::<Refused>::new(&text))
            }
            Given::Table(table) => visitor.visit_enum(MapAccessDeserializer::new(Fields::of(table))),
            Given::Typed(..) => Err(Refused::rule(format!("must be one of {}", variants.join(", ")))),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! { i128 u128 bytes byte_buf unit unit_struct tuple tuple_struct }
}

impl<'a> IntoDeserializer<'_, Refused> for Reader<'a> {
    type Deserializer = Reader<'a>;

    fn into_deserializer(self) -> Reader<'a> {
        self
    }
}

/// The fields of a table, which put their names in front of the path of an error.
struct Fields {
    rest: btree_map::IntoIter<String, Given>,
    value: Option<(String, Given)>,
}

impl Fields {
    fn of(table: BTreeMap<String, Given>) -> Self {
        Fields { rest: table.into_iter(), value: None }
    }
}

impl<'de> de::MapAccess<'de> for Fields {
    type Error = Refused;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refused> {
        let Some((name, given)) = self.rest.next() else { return Ok(None) };
        let key = seed.deserialize(StrDeserializer::<Refused>::new(&name))?;
        self.value = Some((name, given));
        Ok(Some(key))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Refused> {
        let (name, given) = self.value.take().expect("serde asks for the key before the value");
        let (shown, origin) = (shown(&given), origin(&given));
        let secret = Cell::new(false);
        seed.deserialize(Reader { given, secret: &secret }).map_err(|mut refused| {
            if refused.path.is_empty() {
                refused.given = shown.map(|shown| if secret.get() { MASK.to_owned() } else { shown });
                refused.origin = origin;
            }
            refused.path.insert(0, name);
            refused
        })
    }
}
