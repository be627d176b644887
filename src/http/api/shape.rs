//! The shapes of what the API takes and gives: declared once, they are read and written by serde and
//! told in `/openapi.json`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// The named shapes of the document, as they are come across.
pub(in crate::http) type Defs = BTreeMap<&'static str, Value>;

/// A type with a JSON schema.
pub(in crate::http) trait Shape {
    /// Whether a field of it may be left out of a request, and is null in an answer.
    const MAY_BE_ABSENT: bool = false;

    /// Its schema; a named one puts itself among `defs` and is referred to.
    fn schema(defs: &mut Defs) -> Value;
}

macro_rules! plain {
    ($($type:ty => $schema:tt),+ $(,)?) => {$(
        impl Shape for $type {
            fn schema(_: &mut Defs) -> Value {
                json!($schema)
            }
        }
    )+};
}

plain! {
    String => { "type": "string" },
    bool => { "type": "boolean" },
    f64 => { "type": "number" },
    i32 => { "type": "integer" },
    i64 => { "type": "integer" },
    u32 => { "type": "integer", "minimum": 0 },
    u64 => { "type": "integer", "minimum": 0 },
    Value => {},
}

impl<T: Shape> Shape for Option<T> {
    const MAY_BE_ABSENT: bool = true;

    fn schema(defs: &mut Defs) -> Value {
        let inner = T::schema(defs);
        match inner.get("type").cloned() {
            Some(Value::String(kind)) => {
                let mut inner = inner;
                if let Some(map) = inner.as_object_mut() {
                    map.insert("type".to_owned(), json!([kind, "null"]));
                }
                inner
            }
            _ if inner.as_object().is_some_and(Map::is_empty) => inner,
            _ => json!({ "anyOf": [inner, { "type": "null" }] }),
        }
    }
}

impl<T: Shape> Shape for Vec<T> {
    fn schema(defs: &mut Defs) -> Value {
        json!({ "type": "array", "items": T::schema(defs) })
    }
}

impl<T: Shape> Shape for BTreeMap<String, T> {
    fn schema(defs: &mut Defs) -> Value {
        json!({ "type": "object", "additionalProperties": T::schema(defs) })
    }
}

/// One field of a named shape.
pub(in crate::http) struct Field {
    pub(in crate::http) name: &'static str,
    pub(in crate::http) about: &'static str,
    pub(in crate::http) schema: fn(&mut Defs) -> Value,
    pub(in crate::http) may_be_absent: bool,
}

/// Puts a named shape among `defs`, and refers to it. `is_answer` says that every field is there.
pub(in crate::http) fn named(
    defs: &mut Defs,
    name: &'static str,
    about: &'static str,
    fields: &[Field],
    is_answer: bool,
) -> Value {
    if !defs.contains_key(name) {
        // Before its fields are looked at, so that a shape may hold itself.
        defs.insert(name, Value::Null);
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for field in fields {
            let mut schema = (field.schema)(defs);
            if let Some(map) = schema.as_object_mut() {
                map.insert("description".to_owned(), json!(field.about.trim()));
            }
            properties.insert(field.name.to_owned(), schema);
            if is_answer || !field.may_be_absent {
                required.push(field.name);
            }
        }
        let mut schema = json!({
            "type": "object",
            "description": about.trim(),
            "properties": properties,
            "required": required,
        });
        // What is taken may hold more than is read; what is given is all that is declared.
        if is_answer && let Some(map) = schema.as_object_mut() {
            map.insert("additionalProperties".to_owned(), json!(false));
        }
        defs.insert(name, schema);
    }
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// Declares what the API gives: a struct that serde writes, and its schema.
macro_rules! answer {
    ($($(#[doc = $about:literal])+ $name:ident {
        $($(#[doc = $doc:literal])+ $field:ident: $type:ty),* $(,)?
    })+) => {$(
        $(#[doc = $about])+
        #[derive(Debug, serde::Serialize)]
        pub(in crate::http) struct $name {
            $($(#[doc = $doc])+ pub(in crate::http) $field: $type,)*
        }

        impl $crate::http::api::shape::Shape for $name {
            fn schema(defs: &mut $crate::http::api::shape::Defs) -> serde_json::Value {
                $crate::http::api::shape::named(
                    defs,
                    stringify!($name),
                    concat!($($about),+),
                    &[$($crate::http::api::shape::field!($field: $type, $($doc),+)),*],
                    true,
                )
            }
        }
    )+};
}
pub(in crate::http) use answer;

/// Declares what the API takes: a struct that serde reads, and its schema.
macro_rules! request {
    ($($(#[doc = $about:literal])+ $name:ident {
        $($(#[doc = $doc:literal])+ $field:ident: $type:ty),* $(,)?
    })+) => {$(
        $(#[doc = $about])+
        #[derive(Debug, Clone, Default, serde::Deserialize)]
        pub(in crate::http) struct $name {
            $($(#[doc = $doc])+ pub(in crate::http) $field: $type,)*
        }

        impl $crate::http::api::shape::Shape for $name {
            fn schema(defs: &mut $crate::http::api::shape::Defs) -> serde_json::Value {
                $crate::http::api::shape::named(
                    defs,
                    stringify!($name),
                    concat!($($about),+),
                    &[$($crate::http::api::shape::field!($field: $type, $($doc),+)),*],
                    false,
                )
            }
        }
    )+};
}
pub(in crate::http) use request;

/// One field of a shape that is declared.
macro_rules! field {
    ($field:ident: $type:ty, $($doc:literal),+) => {
        $crate::http::api::shape::Field {
            name: stringify!($field),
            about: concat!($($doc),+),
            schema: <$type as $crate::http::api::shape::Shape>::schema,
            may_be_absent: <$type as $crate::http::api::shape::Shape>::MAY_BE_ABSENT,
        }
    };
}
pub(in crate::http) use field;
