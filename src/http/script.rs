//! The script of landing pages, `/t/{tenant}.js`: one tag asks nothing else of a page, since what
//! differs between tenants is put in here.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};

use super::clicks::tenant_of;
use super::state::TenantHttp;
use super::{HttpState, Problem};
use crate::domain::ids::TenantId;

/// The script as it is written.
const SOURCE: &str = include_str!("t.js");
/// Where the settings of a tenant go.
const SETTINGS: &str = "SETTINGS";
/// The line of the source that lists the names to shorten.
const SHORT: &str = "//short ";
/// A browser asks anew after a day, and shows what it has meanwhile: a change of the configuration
/// reaches every visitor within two days, and no page waits for this daemon.
const CACHE: HeaderValue =
    HeaderValue::from_static("public, max-age=86400, stale-while-revalidate=86400");

/// The fields of forms that the script fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormFields {
    /// The field that gets the visit's id, besides `roasd_click_id`.
    pub click_id: String,
    /// Hidden fields that get a parameter of the ad's link: the field, and the parameters by
    /// preference.
    pub copied: Vec<(String, Vec<&'static str>)>,
}

impl Default for FormFields {
    fn default() -> Self {
        Self {
            click_id: CLICK_ID.to_owned(),
            copied: Vec::new(),
        }
    }
}

/// The field that every page may have.
const CLICK_ID: &str = "roasd_click_id";

/// `GET /t/{tenant}.js`.
pub(super) async fn script(
    State(state): State<HttpState>,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let tenant = file.strip_suffix(".js").ok_or_else(Problem::not_found)?;
    let (tenant, entry) = tenant_of(&state, tenant)?;
    let text = of_tenant(&tenant, &entry);
    let digest = Sha256::digest(text.as_bytes());
    let tag = format!("\"{}\"", hex::encode(digest.get(..12).unwrap_or_default()));
    // A proxy that compresses marks the tag as weak; the script is the same all the same.
    let is_known = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|known| known.trim().trim_start_matches("W/") == tag || known.trim() == "*");
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        text.into_response()
    };
    let headers = response.headers_mut();
    let fixed = |text: &'static str| HeaderValue::from_static(text);
    headers.insert(
        header::CONTENT_TYPE,
        fixed("text/javascript; charset=utf-8"),
    );
    headers.insert(header::CACHE_CONTROL, CACHE);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff"));
    // Also for pages that isolate themselves (Cross-Origin-Embedder-Policy), and for a tag with
    // `crossorigin`: there is nothing secret in it.
    headers.insert("cross-origin-resource-policy", fixed("cross-origin"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, fixed("*"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    Ok(response)
}

/// The script as a tenant's pages get it.
fn of_tenant(tenant: &TenantId, entry: &TenantHttp) -> String {
    static SQUEEZED: LazyLock<String> = LazyLock::new(|| squeezed(SOURCE));
    let FormFields { click_id, copied } = &entry.form_fields;
    let mut click = vec![CLICK_ID, click_id];
    click.dedup();
    let copy: Vec<Vec<&str>> = copied
        .iter()
        .map(|(field, from)| {
            let from = from.iter().copied();
            std::iter::once(field.as_str()).chain(from).collect()
        })
        .collect();
    let settings = serde_json::json!({
        "js": format!("/t/{tenant}.js"),
        "click": click,
        "copy": copy,
        "days": entry.click_window.as_hours() / 24,
        "free": !entry.requires_consent,
    });
    SQUEEZED.replace(SETTINGS, &settings.to_string())
}

/// The script without comments, blanks and long names; the head of `t.js` says what it relies on.
fn squeezed(source: &str) -> String {
    let letters = ('A'..='Z')
        .chain('a'..='z')
        .filter(|c| !"desw".contains(*c));
    let names = source.lines().find_map(|line| line.strip_prefix(SHORT));
    let short: HashMap<&str, char> = names
        .unwrap_or_default()
        .split_whitespace()
        .zip(letters)
        .collect();
    let lines = source.lines().map(str::trim);
    let mut out = String::with_capacity(source.len());
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with("//")) {
        join(&mut out, line.chars().next(), '\n');
        // Every other part is a string.
        for (n, part) in line.split('\'').enumerate() {
            if n % 2 == 1 {
                out.push_str(&format!("'{part}'"));
            } else {
                squeeze(part, &short, &mut out);
            }
        }
    }
    out
}

/// Puts `between` where two words would become one.
fn join(out: &mut String, next: Option<char>, between: char) {
    if out.chars().next_back().is_some_and(is_of_word) && next.is_some_and(is_of_word) {
        out.push(between);
    }
}

const fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$'
}

/// Appends code without its blanks, its words shortened.
fn squeeze(code: &str, short: &HashMap<&str, char>, out: &mut String) {
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| is_of_word(c) != is_of_word(first));
        let (run, next) = rest.split_at(end.unwrap_or(rest.len()));
        if is_of_word(first) {
            match short.get(run) {
                Some(letter) => out.push(*letter),
                None => out.push_str(run),
            }
        } else if run.chars().all(|c| c == ' ') {
            join(out, next.chars().next(), ' ');
        } else {
            out.extend(run.chars().filter(|c| *c != ' '));
        }
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_comments_blanks_and_long_names() {
        let check = |source: &str, expected: &str| assert_eq!(squeezed(source), expected);
        check("// about\n\n  var a = 1;\n", "var a=1;");
        check(
            "if (a)\n  b();\nelse c( 'a  //b' );",
            "if(a)b();else c('a  //b');",
        );
        check(
            "//short visit told\nvar visit = { told: visit.x };",
            "var A={B:A.x};",
        );
        check(
            "//short visit\nvar visits = 'visit', _visit;",
            "var visits='visit',_visit;",
        );
        check("var a\nvar b", "var a\nvar b");
    }

    #[test]
    fn names_that_mean_something_elsewhere_are_not_shortened() {
        let names = SOURCE.lines().find_map(|line| line.strip_prefix(SHORT));
        let names: Vec<&str> = names.unwrap().split(' ').collect();
        assert!(names.len() <= 48, "there are no more letters");
        for name in names {
            // Reported to the server, set by the server, or asked for by the page.
            for word in [
                "visit_id", "url", "consent", "device", "fbc", "js", "click", "copy",
            ] {
                assert_ne!(name, word);
            }
        }
    }
}
