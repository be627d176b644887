//! As much of JSON schema as the served document uses.

use serde_json::Value;

/// Whether a value is of a JSON type.
fn is_a(kind: &str, value: &Value) -> bool {
    match kind {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("the document has a type {other}"),
    }
}

/// Whether a value is what a schema says.
fn fits(document: &Value, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let pointer = reference.strip_prefix('#').unwrap();
        let target = document.pointer(pointer);
        let target = target.ok_or_else(|| format!("{place}: {reference} leads nowhere"))?;
        return fits(document, target, value, place);
    }
    if let Some(any) = schema.get("anyOf").and_then(Value::as_array) {
        let first = fits(document, &any[0], value, place);
        let fit = any
            .iter()
            .any(|one| fits(document, one, value, place).is_ok());
        return if fit { Ok(()) } else { first };
    }
    let kinds: Vec<&str> = match schema.get("type") {
        Some(Value::String(kind)) => vec![kind.as_str()],
        Some(Value::Array(kinds)) => kinds.iter().map(|kind| kind.as_str().unwrap()).collect(),
        _ => return Ok(()),
    };
    if !kinds.iter().any(|kind| is_a(kind, value)) {
        return Err(format!("{place}: {value} is no {kinds:?}"));
    }
    if let Some(items) = value.as_array() {
        for (n, item) in items.iter().enumerate() {
            fits(document, &schema["items"], item, &format!("{place}[{n}]"))?;
        }
    }
    if let Some(object) = value.as_object() {
        let known = schema.get("properties").and_then(Value::as_object);
        for name in schema["required"].as_array().into_iter().flatten() {
            let name = name.as_str().unwrap();
            if !object.contains_key(name) {
                return Err(format!("{place}: {name} is missing"));
            }
        }
        for (name, value) in object {
            let place = format!("{place}.{name}");
            match (
                known.and_then(|known| known.get(name)),
                &schema["additionalProperties"],
            ) {
                (Some(schema), _) => fits(document, schema, value, &place)?,
                (None, Value::Bool(false)) => return Err(format!("{place} is not declared")),
                (None, Value::Object(_)) => {
                    fits(document, &schema["additionalProperties"], value, &place)?;
                }
                (None, _) => {}
            }
        }
    }
    Ok(())
}

/// Asserts that a value is what a schema of the document says.
#[track_caller]
pub(super) fn check(document: &Value, schema: &Value, value: &Value, place: &str) {
    fits(document, schema, value, place).unwrap_or_else(|why| panic!("{why}\nin {value:#}"));
}

#[test]
fn the_check_finds_what_does_not_fit() {
    let document = serde_json::json!({ "components": { "a": {
        "type": "object", "properties": { "n": { "type": ["integer", "null"] } },
        "required": ["n"], "additionalProperties": false,
    }}});
    let schema = serde_json::json!({ "type": "array", "items": { "$ref": "#/components/a" } });
    let of = |text: &str| {
        let value: Value = serde_json::from_str(text).unwrap();
        fits(&document, &schema, &value, "it").is_ok()
    };
    assert!(of(r#"[{"n":1},{"n":null}]"#));
    for bad in [
        r#"{}"#,
        r#"[{}]"#,
        r#"[{"n":1.5}]"#,
        r#"[{"n":"1"}]"#,
        r#"[{"n":1,"m":2}]"#,
    ] {
        assert!(!of(bad), "{bad}");
    }
}
