//! `/openapi.json`, made of the table of routes.

use serde_json::{Map, Value, json};

use super::route::{Kind, Param, Route, Verb, Whose};
use super::shape::Defs;

/// The document.
pub(super) fn document(routes: &[&'static Route]) -> Value {
    let mut defs = Defs::new();
    defs.insert("Problem", problem());
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let verb = match route.verb {
            Verb::Get => "get",
            Verb::Post => "post",
        };
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(verb.to_owned(), operation(route, &mut defs));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "roasd",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Every request takes a token: Authorization: Bearer roasd_…; `roasd token create` makes one.",
        },
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": defs,
        },
    })
}

fn operation(route: &Route, defs: &mut Defs) -> Value {
    let in_path = route.path.split('/').filter_map(|part| {
        let name = part.strip_prefix('{')?.strip_suffix('}')?;
        Some(json!({
            "name": name, "in": "path", "required": true, "schema": { "type": "string" },
        }))
    });
    let parameters: Vec<Value> = in_path.chain(route.query.iter().map(parameter)).collect();
    let whose = match route.whose {
        Whose::Nobodys | Whose::Path => "",
        Whose::Token => {
            " The token names the tenant; a `tenant_id` in the body must agree, and is needed where \
             the token is for every tenant."
        }
    };
    let mut operation = json!({
        "summary": route.about,
        "description": format!("Needs the scope `{}`.{whose}", route.scope),
        "x-scope": route.scope.as_str(),
        "parameters": parameters,
        "responses": {
            "200": {
                "description": "Done.",
                "content": { "application/json": { "schema": (route.answer)(defs) } },
            },
            "default": {
                "description": "Not done, and why (RFC 9457).",
                "content": {
                    "application/problem+json": {
                        "schema": { "$ref": "#/components/schemas/Problem" },
                    },
                },
            },
        },
    });
    if let (Some(body), Some(operation)) = (&route.body, operation.as_object_mut()) {
        let mut schema = (body.schema)(defs);
        if route.whose == Whose::Token {
            schema = json!({ "allOf": [schema, {
                "type": "object",
                "properties": { "tenant_id": {
                    "type": ["string", "null"], "description": "The tenant; must be the token's.",
                }},
            }]});
        }
        let taken = json!({
            "required": !body.is_optional,
            "description": format!("{} bytes at most.", body.max),
            "content": { "application/json": { "schema": schema } },
        });
        operation.insert("requestBody".to_owned(), taken);
    }
    operation
}

fn parameter(param: &Param) -> Value {
    let schema = match param.kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Count => json!({ "type": "integer", "minimum": 1, "maximum": 500 }),
        Kind::Date => json!({ "type": "string", "format": "date" }),
    };
    json!({
        "name": param.name, "in": "query", "required": false,
        "description": param.about, "schema": schema,
    })
}

fn problem() -> Value {
    json!({
        "type": "object",
        "description": "What went wrong, and what to do about it.",
        "properties": {
            "type": { "type": "string" },
            "title": { "type": "string", "description": "The status in words." },
            "status": { "type": "integer" },
            "detail": { "type": "string", "description": "What to do." },
        },
        "required": ["type", "title", "status", "detail"],
        "additionalProperties": false,
    })
}
