//! Edits: `POST /{id}` with a form.

use serde_json::{Value, json};

use crate::domain::time;

use super::super::journal::Entry;
use super::super::market::{Field, Write};
use super::{Context, Error};

/// Parameters that are not the edit itself.
const SIDE: &[&str] = &[
    "access_token",
    "appsecret_proof",
    "execution_options",
    "format",
    "locale",
    "pretty",
];

/// Makes one edit. Its record is on disk before this returns.
pub(super) fn write(context: &mut Context<'_>, id: &str) -> Result<Value, Error> {
    let node = context
        .state
        .market
        .find(id)
        .filter(|_| !id.contains('/'))
        .ok_or_else(|| Error::missing("post", id))?;
    let validate_only = match context.call.param("execution_options") {
        None => false,
        Some(text) => match serde_json::from_str::<Vec<String>>(text) {
            Ok(options) => options.iter().any(|o| o == "validate_only"),
            Err(_) => {
                return Err(Error::bad(
                    "Param execution_options must be an array of enums",
                ));
            }
        },
    };
    let mut edits = Vec::new();
    for (name, value) in context.call.params() {
        if SIDE.contains(&name.as_str()) {
            continue;
        }
        // Meta would take more; nothing else may ever come from roasd.
        let field = Field::parse(name)
            .ok_or_else(|| Error::bad(&format!("The parameter {name} is not supported here")))?;
        edits.push((field, value.clone()));
    }
    if edits.is_empty() {
        return Err(Error::bad("The request has no field to update"));
    }
    let mut writes = Vec::new();
    for (field, value) in edits {
        let mut write = Write {
            node,
            field,
            value,
            application_id: context.world.config.app_id.clone(),
            validate_only: true,
        };
        // All fields are judged before any is changed.
        if let Err(refusal) = context.state.market.apply(&write, context.now) {
            return Err(refused(context, id, &write, refusal, validate_only));
        }
        write.validate_only = false;
        writes.push(write);
    }
    if validate_only {
        return Ok(json!({ "success": true }));
    }
    for write in writes {
        match context.state.market.apply(&write, context.now) {
            Ok(applied) => {
                let entry = context.world.entry(
                    &context.state.market,
                    &context.tenant.spec,
                    &write,
                    &applied,
                    context.now,
                    context.trace,
                );
                context.world.record_durably(&entry).map_err(|cause| {
                    tracing::error!(%cause, "the sandbox cannot write its journal");
                    Error::new(
                        2,
                        0,
                        "An unexpected error has occurred. Please retry your request later."
                            .to_owned(),
                    )
                })?;
            }
            Err(refusal) => return Err(refused(context, id, &write, refusal, false)),
        }
    }
    Ok(json!({ "success": true }))
}

fn refused(
    context: &Context<'_>,
    id: &str,
    write: &Write,
    refusal: super::super::market::Refusal,
    validate_only: bool,
) -> Error {
    let error = Error::refused(refusal, id);
    if !validate_only {
        context.world.record(&Entry::Refused {
            at: time::to_micros(context.now),
            tenant: context.tenant.spec.tenant.as_str().to_owned(),
            entity: id.to_owned(),
            field: write.field.as_str().to_owned(),
            value: write.value.clone(),
            application_id: write.application_id.clone(),
            code: error.code,
            subcode: error.subcode,
            fbtrace_id: context.trace.to_owned(),
        });
    }
    error
}
