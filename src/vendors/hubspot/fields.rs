//! The fields of a webhook's events, read in one pass and borrowed from the delivery's bytes. Whatever
//! else an event holds is passed over, and a field of a shape that nobody has heard of counts as none.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// One element of a delivery.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every element is an event: a box for each would cost what it saves"
)]
pub(super) enum Element<'a> {
    /// An object.
    Event(Fields<'a>),
    /// Anything else.
    NoEvent,
}

/// What an event says, under the vendor's own names. A number is as good as its text.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    pub(super) subscription_type: Option<Cow<'a, str>>,
    pub(super) event_type: Option<Cow<'a, str>>,
    pub(super) portal_id: Option<Cow<'a, str>>,
    pub(super) occurred_at: Option<Cow<'a, str>>,
    pub(super) subscription_id: Option<Cow<'a, str>>,
    pub(super) event_id: Option<Cow<'a, str>>,
    pub(super) property_name: Option<Cow<'a, str>>,
    pub(super) property_value: Option<Cow<'a, str>>,
    pub(super) object_id: Option<Cow<'a, str>>,
    pub(super) object_type_id: Option<Cow<'a, str>>,
    pub(super) from_object_id: Option<Cow<'a, str>>,
    pub(super) to_object_id: Option<Cow<'a, str>>,
    pub(super) new_object_id: Option<Cow<'a, str>>,
    pub(super) primary_object_id: Option<Cow<'a, str>>,
    pub(super) merged_object_ids: Vec<Cow<'a, str>>,
    pub(super) association_type: Option<Cow<'a, str>>,
    pub(super) association_removed: Option<bool>,
}

/// A value of any shape, of which only a plain one or a list of such counts.
#[derive(Debug)]
enum Said<'a> {
    Text(Cow<'a, str>),
    Flag(bool),
    List(Vec<Said<'a>>),
    Nothing,
}

impl<'a> Said<'a> {
    fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Said::Text(text) => Some(text),
            Said::Flag(_) | Said::List(_) | Said::Nothing => None,
        }
    }

    fn texts(self) -> Vec<Cow<'a, str>> {
        match self {
            Said::List(list) => list.into_iter().filter_map(Said::text).collect(),
            Said::Text(_) | Said::Flag(_) | Said::Nothing => Vec::new(),
        }
    }

    const fn flag(&self) -> Option<bool> {
        match self {
            Said::Flag(flag) => Some(*flag),
            Said::Text(_) | Said::List(_) | Said::Nothing => None,
        }
    }
}

impl<'de> Deserialize<'de> for Said<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SaidVisitor)
    }
}

struct SaidVisitor;

impl<'de> Visitor<'de> for SaidVisitor {
    type Value = Said<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Said<'de>, E> {
        Ok(Said::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Said<'de>, E> {
        Ok(Said::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Said<'de>, E> {
        Ok(Said::Text(number.to_string().into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Said<'de>, E> {
        Ok(Said::Text(number.to_string().into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Said<'de>, E> {
        let number = serde_json::Number::from_f64(number);
        Ok(number.map_or(Said::Nothing, |number| {
            Said::Text(number.to_string().into())
        }))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Said<'de>, E> {
        Ok(Said::Flag(flag))
    }

    fn visit_unit<E>(self) -> Result<Said<'de>, E> {
        Ok(Said::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Said<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(said) = seq.next_element()? {
            list.push(said);
        }
        Ok(Said::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Said<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Said::Nothing)
    }
}

/// A field's name, borrowed where it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let said = deserializer.deserialize_str(SaidVisitor)?;
        Ok(Self(said.text().unwrap_or_default()))
    }
}

impl<'de> Deserialize<'de> for Element<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ElementVisitor)
    }
}

struct ElementVisitor;

impl<'de> Visitor<'de> for ElementVisitor {
    type Value = Element<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Element<'de>, A::Error> {
        let mut fields = Fields::default();
        while let Some(Name(name)) = map.next_key()? {
            let text = match &*name {
                "subscriptionType" => &mut fields.subscription_type,
                "eventType" => &mut fields.event_type,
                "portalId" => &mut fields.portal_id,
                "occurredAt" => &mut fields.occurred_at,
                "subscriptionId" => &mut fields.subscription_id,
                "eventId" => &mut fields.event_id,
                "propertyName" => &mut fields.property_name,
                "propertyValue" => &mut fields.property_value,
                "objectId" => &mut fields.object_id,
                "objectTypeId" => &mut fields.object_type_id,
                "fromObjectId" => &mut fields.from_object_id,
                "toObjectId" => &mut fields.to_object_id,
                "newObjectId" => &mut fields.new_object_id,
                "primaryObjectId" => &mut fields.primary_object_id,
                "associationType" => &mut fields.association_type,
                "mergedObjectIds" => {
                    fields.merged_object_ids = map.next_value::<Said<'_>>()?.texts();
                    continue;
                }
                "associationRemoved" => {
                    fields.association_removed = map.next_value::<Said<'_>>()?.flag();
                    continue;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *text = map.next_value::<Said<'_>>()?.text();
        }
        Ok(Element::Event(fields))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Element<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Element::NoEvent)
    }

    fn visit_str<E>(self, _: &str) -> Result<Element<'de>, E> {
        Ok(Element::NoEvent)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Element<'de>, E> {
        Ok(Element::NoEvent)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Element<'de>, E> {
        Ok(Element::NoEvent)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Element<'de>, E> {
        Ok(Element::NoEvent)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Element<'de>, E> {
        Ok(Element::NoEvent)
    }

    fn visit_unit<E>(self) -> Result<Element<'de>, E> {
        Ok(Element::NoEvent)
    }
}
