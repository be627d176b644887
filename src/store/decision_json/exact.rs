//! Numbers and instants that come back as they were, to the last bit.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::domain::time::{Timestamp, from_micros, to_micros};

/// A float in its shortest form that reads back as itself; one that is not finite is written as
/// null and read as NaN, which the policies treat alike: as no number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exact(pub(super) f64);

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The JSON parser itself may be off by the last bit; the standard library never is.
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        if raw == "null" {
            return Ok(Self(f64::NAN));
        }
        raw.parse()
            .map(Self)
            .map_err(|_| serde::de::Error::custom(format!("{raw} is not a number")))
    }
}

/// For fields that may be absent: a null is a number that was not finite, not an absence.
pub(super) fn present<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Exact>, D::Error> {
    Exact::deserialize(deserializer).map(Some)
}

/// An instant: microseconds since the epoch, or ISO 8601 where it is finer than that.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum At {
    /// Whole microseconds.
    Micros(i64),
    /// With nanoseconds.
    Iso(Timestamp8601),
}

/// An instant as text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timestamp8601(pub(super) Timestamp);

impl Serialize for Timestamp8601 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Timestamp8601 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

impl From<Timestamp> for At {
    fn from(at: Timestamp) -> Self {
        let micros = to_micros(at);
        if from_micros(micros) == at {
            Self::Micros(micros)
        } else {
            Self::Iso(Timestamp8601(at))
        }
    }
}

impl From<At> for Timestamp {
    fn from(at: At) -> Self {
        match at {
            At::Micros(micros) => from_micros(micros),
            At::Iso(at) => at.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_instant_finer_than_a_microsecond_keeps_its_nanoseconds() {
        for text in ["2026-11-24T09:00:00.123456789Z", "2026-11-24T09:00:00.5Z"] {
            let at: Timestamp = text.parse().unwrap();
            let json = serde_json::to_string(&At::from(at)).unwrap();
            let back: At = serde_json::from_str(&json).unwrap();
            assert_eq!(Timestamp::from(back), at, "{json}");
        }
    }

    proptest! {
        #[test]
        fn every_float_reads_back_to_the_last_bit(bits in any::<u64>()) {
            let number = f64::from_bits(bits);
            let json = serde_json::to_string(&Exact(number)).unwrap();
            let Exact(back) = serde_json::from_str(&json).unwrap();
            if number.is_finite() {
                prop_assert_eq!(back.to_bits(), bits, "{}", json);
            } else {
                prop_assert!(back.is_nan());
                prop_assert_eq!(json, "null");
            }
        }
    }
}
