//! An argument that is an expression: it arrives as its text and its value.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// The text of an expression and what it came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expression {
    pub text: String,
    pub value: Value,
}

impl<'de> Deserialize<'de> for Expression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pair;
        impl<'de> Visitor<'de> for Pair {
            type Value = Expression;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an expression in quotes")
            }

            fn visit_unit<E>(self) -> Result<Expression, E> {
                Ok(Expression::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Expression, A::Error> {
                let mut expression = Expression::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "text" => expression.text = map.next_value()?,
                        _ => expression.value = map.next_value()?,
                    }
                }
                Ok(expression)
            }
        }
        deserializer.deserialize_any(Pair)
    }
}

impl JsonSchema for Expression {
    fn schema_name() -> Cow<'static, str> {
        "Expression".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "boolean"], "description": "an expression, without braces" })
    }

    fn inline_schema() -> bool {
        true
    }
}

/// One expression or a list of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expressions(pub Vec<Expression>);

impl<'de> Deserialize<'de> for Expressions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Many;
        impl<'de> Visitor<'de> for Many {
            type Value = Expressions;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an expression in quotes, or a list of them")
            }

            fn visit_unit<E>(self) -> Result<Expressions, E> {
                Ok(Expressions::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Expressions, A::Error> {
                let mut all = Vec::new();
                while let Some(one) = items.next_element()? {
                    all.push(one);
                }
                Ok(Expressions(all))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Expressions, A::Error> {
                Expression::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(|one| Expressions(vec![one]))
            }
        }
        deserializer.deserialize_any(Many)
    }
}

impl JsonSchema for Expressions {
    fn schema_name() -> Cow<'static, str> {
        "Expressions".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "an expression without braces, or a list of them", "anyOf": [{ "type": ["string", "boolean"] }, { "type": "array", "items": { "type": ["string", "boolean"] } }] })
    }

    fn inline_schema() -> bool {
        true
    }
}

/// Whether a value counts as true in a condition.
pub fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(entries) => !entries.is_empty(),
    }
}
