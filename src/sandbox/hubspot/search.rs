//! Search: what the index knows, which is a little behind, and never more than 10,000 of it.

use serde_json::{Value, json};

use crate::domain::time::{self, Timestamp};

use super::super::market::{Deal, Market};
use super::read::strings;
use super::record::{deal_property, show};
use super::{Context, Error, Kind};

/// Bytes of a body.
const BODY_MAX: usize = 3_000;
/// Results that one query can page through.
const RESULTS_MAX: usize = 10_000;
const LIMIT_MAX: usize = 200;
const LIMIT_DEFAULT: usize = 10;
const GROUPS_MAX: usize = 5;
const FILTERS_MAX: usize = 6;
const ALL_FILTERS_MAX: usize = 18;

/// What a filter compares.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Term {
    Number(i64),
    Text(String),
}

fn term(market: &Market, deal: &Deal, name: &str, at: Timestamp) -> Option<Term> {
    let millis = |t: Timestamp| Term::Number(time::to_micros(t).div_euclid(1_000));
    match name {
        "hs_object_id" => i64::try_from(deal.id).ok().map(Term::Number),
        "hs_lastmodifieddate" => Some(millis(deal.view(at)?.modified)),
        "createdate" | "hs_createdate" => Some(millis(deal.created)),
        _ => deal_property(market, deal, name, at)?
            .as_str()
            .map(|text| Term::Text(text.to_owned())),
    }
}

/// Whether values of this property are numbers; an error for one that cannot be filtered by.
fn is_number(name: &str) -> Result<bool, Error> {
    match name {
        "hs_object_id" | "hs_lastmodifieddate" | "createdate" | "hs_createdate" => Ok(true),
        "dealstage" | "pipeline" | "dealname" | "hs_is_closed" | "hs_is_closed_won" => Ok(false),
        _ => Err(Error::invalid(format!(
            "There was a problem with the request: property {name:?} cannot be filtered by here"
        ))),
    }
}

#[derive(Debug)]
enum Test {
    Equal(Term),
    Unequal(Term),
    Less(Term),
    AtMost(Term),
    Greater(Term),
    AtLeast(Term),
    Between(Term, Term),
    In(Vec<Term>),
    NotIn(Vec<Term>),
    Has(bool),
}

impl Test {
    fn holds(&self, value: Option<&Term>) -> bool {
        let Some(value) = value else {
            return matches!(self, Self::Has(false));
        };
        match self {
            Self::Equal(x) => value == x,
            Self::Unequal(x) => value != x,
            Self::Less(x) => value < x,
            Self::AtMost(x) => value <= x,
            Self::Greater(x) => value > x,
            Self::AtLeast(x) => value >= x,
            Self::Between(low, high) => low <= value && value <= high,
            Self::In(all) => all.contains(value),
            Self::NotIn(all) => !all.contains(value),
            Self::Has(wanted) => *wanted,
        }
    }
}

fn filter(value: &Value) -> Result<(String, Test), Error> {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let name =
        text("propertyName").ok_or_else(|| Error::invalid("a filter needs a propertyName"))?;
    let is_number = is_number(name)?;
    let term = |raw: &str| {
        if !is_number {
            return Ok(Term::Text(raw.to_owned()));
        }
        raw.parse()
            .map(Term::Number)
            .map_err(|_| Error::invalid(format!("{raw:?} is not a number, as {name} needs one")))
    };
    let one = |field: &str| {
        let raw = text(field)
            .ok_or_else(|| Error::invalid(format!("a filter needs {field}, which is a string")))?;
        term(raw)
    };
    let many = || {
        strings(value, "values")?
            .iter()
            .map(|raw| term(raw))
            .collect::<Result<Vec<_>, _>>()
    };
    let test = match text("operator").unwrap_or("") {
        "EQ" => Test::Equal(one("value")?),
        "NEQ" => Test::Unequal(one("value")?),
        "LT" => Test::Less(one("value")?),
        "LTE" => Test::AtMost(one("value")?),
        "GT" => Test::Greater(one("value")?),
        "GTE" => Test::AtLeast(one("value")?),
        "BETWEEN" => Test::Between(one("value")?, one("highValue")?),
        "IN" => Test::In(many()?),
        "NOT_IN" => Test::NotIn(many()?),
        "HAS_PROPERTY" => Test::Has(true),
        "NOT_HAS_PROPERTY" => Test::Has(false),
        other => {
            return Err(Error::invalid(format!(
                "operator {other:?} is not supported"
            )));
        }
    };
    Ok((name.to_owned(), test))
}

fn groups(body: &Value) -> Result<Vec<Vec<(String, Test)>>, Error> {
    let empty = Vec::new();
    let groups = match body.get("filterGroups") {
        None => &empty,
        Some(value) => value
            .as_array()
            .ok_or_else(|| Error::invalid("filterGroups must be an array"))?,
    };
    if groups.len() > GROUPS_MAX {
        return Err(Error::invalid(format!("at most {GROUPS_MAX} filterGroups")));
    }
    let mut out = Vec::new();
    for group in groups {
        let filters = group
            .get("filters")
            .and_then(Value::as_array)
            .ok_or_else(|| Error::invalid("a filter group needs filters"))?;
        if filters.len() > FILTERS_MAX {
            return Err(Error::invalid(format!(
                "at most {FILTERS_MAX} filters in a group"
            )));
        }
        out.push(filters.iter().map(filter).collect::<Result<Vec<_>, _>>()?);
    }
    if out.iter().map(Vec::len).sum::<usize>() > ALL_FILTERS_MAX {
        return Err(Error::invalid(format!("at most {ALL_FILTERS_MAX} filters")));
    }
    Ok(out)
}

/// The property to sort by, and whether downwards.
fn sort(body: &Value) -> Result<(String, bool), Error> {
    let none = ("hs_object_id".to_owned(), false);
    let Some(sorts) = body.get("sorts").filter(|v| !v.is_null()) else {
        return Ok(none);
    };
    let sorts = sorts
        .as_array()
        .ok_or_else(|| Error::invalid("sorts must be an array"))?;
    match sorts.as_slice() {
        [] => Ok(none),
        [Value::String(name)] => match name.strip_prefix('-') {
            Some(name) => Ok((name.to_owned(), true)),
            None => Ok((name.clone(), false)),
        },
        [rule] => {
            let text = |name: &str| rule.get(name).and_then(Value::as_str);
            let name = text("propertyName")
                .ok_or_else(|| Error::invalid("a sort needs a propertyName"))?;
            is_number(name)?;
            match text("direction").unwrap_or("ASCENDING") {
                "ASCENDING" => Ok((name.to_owned(), false)),
                "DESCENDING" => Ok((name.to_owned(), true)),
                other => Err(Error::invalid(format!("direction {other:?} is unknown"))),
            }
        }
        _ => Err(Error::invalid("only one sort is supported")),
    }
}

/// A number that may be written as a string.
fn number(body: &Value, name: &str) -> Result<Option<usize>, Error> {
    let bad = || Error::invalid(format!("{name} must be a whole number"));
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => text.parse().map(Some).map_err(|_| bad()),
        Some(value) => value
            .as_u64()
            .and_then(|n| usize::try_from(n).ok())
            .map(Some)
            .ok_or_else(bad),
    }
}

/// `POST …/search`.
pub(super) fn search(context: &Context<'_>, kind: Kind) -> Result<(u16, Value), Error> {
    if kind != Kind::Deal {
        return Err(Error::invalid("only deals can be searched here"));
    }
    if context.call.body.len() > BODY_MAX {
        return Err(Error::invalid(format!(
            "The request body is {} characters long; at most {BODY_MAX} are allowed",
            context.call.body.len()
        )));
    }
    let body = super::read::body(context)?;
    if body.get("propertiesWithHistory").is_some() {
        return Err(Error::invalid(
            "Unrecognized field \"propertiesWithHistory\"",
        ));
    }
    let asked = strings(&body, "properties")?;
    let groups = groups(&body)?;
    let (sort_by, is_descending) = sort(&body)?;
    let limit = number(&body, "limit")?.unwrap_or(LIMIT_DEFAULT);
    if limit == 0 || limit > LIMIT_MAX {
        return Err(Error::invalid(format!(
            "limit must be between 1 and {LIMIT_MAX}"
        )));
    }
    let after = number(&body, "after")?.unwrap_or(0);
    if after.saturating_add(limit) > RESULTS_MAX {
        return Err(Error::invalid(format!(
            "The search would page beyond {RESULTS_MAX} results, which is not supported"
        )));
    }
    let market = &context.state.market;
    let at = time::sub(context.now, context.world.config.search_lag);
    let fits = |deal: &&Deal| {
        deal.view(at).is_some_and(|view| !view.is_archived)
            && (groups.is_empty()
                || groups.iter().any(|filters| {
                    filters
                        .iter()
                        .all(|(name, test)| test.holds(term(market, deal, name, at).as_ref()))
                }))
    };
    let mut found: Vec<(Option<Term>, u64)> = market
        .deals
        .values()
        .filter(fits)
        .map(|deal| (term(market, deal, &sort_by, at), deal.id))
        .collect();
    found.sort();
    if is_descending {
        found.reverse();
    }
    let results: Vec<Value> = found
        .iter()
        .skip(after)
        .take(limit)
        .filter_map(|(_, id)| show(market, kind, *id, at, &asked, &[]))
        .collect();
    let mut out = json!({"total": found.len(), "results": results});
    if let (true, Some(map)) = (after + limit < found.len(), out.as_object_mut()) {
        let next = json!({"next": {"after": (after + limit).to_string()}});
        map.insert("paging".to_owned(), next);
    }
    Ok((200, out))
}
