//! The endpoints of the service that roasd takes the place of: the same paths and JSON, so that its
//! callers need nothing but a token. What they promise is roasd's own, and said where it differs.

mod clicks;
mod fatigue;
mod hubspot;
mod like_ads;
mod reported;
mod revenue;
mod select;

use super::api::route::Route;

/// Every route of the predecessor's.
pub(super) const ROUTES: [&[Route]; 7] = [
    clicks::ROUTES,
    revenue::ROUTES,
    reported::ROUTES,
    hubspot::ROUTES,
    select::ROUTES,
    fatigue::ROUTES,
    like_ads::ROUTES,
];

/// The largest body of a request about one thing, in bytes.
const SMALL_BODY_MAX: usize = 64 * 1024;
/// The largest body of a request about many things, in bytes.
const LARGE_BODY_MAX: usize = 4 * 1024 * 1024;
