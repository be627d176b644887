//! Bodies of deliveries as they are kept: those that are worth it compressed (LZ4, one block). What is
//! compressed begins with a mark and its length; all else stands as it came. Every roasd that knows the
//! mark reads both, so rows of an older one need no change.

use std::borrow::Cow;

/// What a compressed body begins with. No JSON does; a body that does is compressed, whatever its
/// size, so that nothing is taken for what it is not.
const MARK: &[u8] = b"\0lz4";

/// Bodies below this are kept as they are: compressing saves less than a page.
const WORTH_IT: usize = 1_024;

/// No body is longer when it is unpacked, in bytes: far above what is taken in, and below what would
/// hurt if the length on the disk were wrong.
const LONGEST: usize = 64 * 1_024 * 1_024;

/// A body as it is kept.
pub(in crate::store) fn packed(body: &[u8]) -> Cow<'_, [u8]> {
    if body.len() < WORTH_IT && !body.starts_with(MARK) {
        return Cow::Borrowed(body);
    }
    let mut packed = MARK.to_vec();
    packed.extend(lz4_flex::block::compress_prepend_size(body));
    if packed.len() >= body.len() && !body.starts_with(MARK) {
        return Cow::Borrowed(body);
    }
    Cow::Owned(packed)
}

/// A body as it is kept where the database compresses by itself: as it came, unless it would be taken
/// for a compressed one.
pub(in crate::store) fn told_apart(body: &[u8]) -> Cow<'_, [u8]> {
    if body.starts_with(MARK) {
        packed(body)
    } else {
        Cow::Borrowed(body)
    }
}

/// The body that was kept so, or what is wrong with it.
pub(in crate::store) fn unpacked(kept: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    let Some(packed) = kept.strip_prefix(MARK) else {
        return Ok(Cow::Borrowed(kept));
    };
    let (length, block) = lz4_flex::block::uncompressed_size(packed).map_err(|e| e.to_string())?;
    if length > LONGEST {
        return Err(format!("it says that it is {length} bytes long"));
    }
    let body = lz4_flex::block::decompress(block, length).map_err(|e| e.to_string())?;
    Ok(Cow::Owned(body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_delivery_takes_a_fraction_and_a_small_one_stands_as_it_came() {
        let event = br#"{"eventId":1,"subscriptionType":"deal.propertyChange","objectId":7}"#;
        assert_eq!(packed(event), Cow::Borrowed(&event[..]));
        let many = event.repeat(100);
        assert!(packed(&many).len() * 10 < many.len());
        assert_eq!(*unpacked(&packed(&many)).unwrap(), many);
    }

    #[test]
    fn what_looks_compressed_and_is_not_is_told_apart() {
        let body = [MARK, b"of somebody else's"].concat();
        assert_eq!(*unpacked(&packed(&body)).unwrap(), body);
        assert!(unpacked(MARK).is_err());
        assert!(unpacked(&[MARK, &[255; 12]].concat()).is_err());
    }

    proptest! {
        #[test]
        fn every_body_comes_back(
            body in proptest::collection::vec(any::<u8>(), 0..4_000), marked: bool, times in 1usize..4
        ) {
            let mark = if marked { MARK } else { &[] };
            let body = [mark, &body.repeat(times)].concat();
            prop_assert_eq!(unpacked(&packed(&body)).unwrap().into_owned(), body);
        }
    }
}
