//! The day on which an account ends: a date for people, days since 1970 for the host.

use std::borrow::Cow;
use std::fmt;

use jiff::SignedDuration;
use jiff::civil::{Date, date};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};

const EPOCH: Date = date(1970, 1, 1);

/// The last day of an account, or that there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    Never,
    On(Date),
}

impl Expiry {
    /// As the host says it: `never`, or days since 1970-01-01.
    pub fn days(self) -> String {
        match self {
            Self::Never => "never".to_owned(),
            Self::On(day) => (day.duration_since(EPOCH).as_hours() / 24).to_string(),
        }
    }

    /// What a host says, as a date.
    pub fn shown(days: &str) -> String {
        let hours = days.parse::<i32>().ok().map(|days| i64::from(days) * 24);
        let day = hours.and_then(|hours| EPOCH.checked_add(SignedDuration::from_hours(hours)).ok());
        day.map_or_else(|| days.to_owned(), |day| day.to_string())
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "never" => Some(Self::Never),
            // The parser would also take a date with a time.
            _ if text.len() == "2027-01-31".len() => text.parse::<Date>().ok().filter(|day| *day > EPOCH).map(Self::On),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Expiry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Expiry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a date such as \"2027-01-31\", or \"never\"")
            }

            fn visit_unit<E: de::Error>(self) -> Result<Expiry, E> {
                Ok(Expiry::Never)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Expiry, E> {
                let problem = || E::custom(format!("`{text}` is no date after 1970-01-01 | write \"2027-01-31\", or \"never\""));
                Expiry::parse(text).ok_or_else(problem)
            }
        }
        deserializer.deserialize_any(Text)
    }
}

impl JsonSchema for Expiry {
    fn schema_name() -> Cow<'static, str> {
        "Expiry".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "a date such as 2027-01-31, or never" })
    }

    fn inline_schema() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::Expiry;

    #[test]
    fn a_date_is_a_number_of_days_on_the_host() {
        assert_eq!(Expiry::parse("2024-10-04").map(Expiry::days).as_deref(), Some("20000"));
        assert_eq!(Expiry::parse("never").map(Expiry::days).as_deref(), Some("never"));
        assert_eq!(Expiry::shown("20000"), "2024-10-04");
        assert_eq!(Expiry::shown("never"), "never");
    }

    #[test]
    fn what_is_no_date_is_refused() {
        assert!(["", "20000", "2027-02-30", "1970-01-01", "2027-1-1", "2027-01-31T10:00"].iter().all(|text| Expiry::parse(text).is_none()));
    }
}
