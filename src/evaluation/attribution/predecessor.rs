//! The rules of the system that roasd replaces, as a policy to compare with: an id; else the last
//! click with the same fingerprint within seven days, said to be 90 % sure; else the click of the last
//! 24 hours with the highest score of address, user agent and closeness in time, said to be 70 % sure
//! however low that score is. It knows neither consent nor how common a value is nor that a deal may
//! come from no ad.

use super::people::Seen;
use super::world::{Click, World};
use crate::domain::attribution::Method;

/// Its guess where no id names the ad.
pub(super) fn guess(
    world: &World,
    hours: f64,
    form: Option<&Seen>,
) -> Option<(usize, Method, f64)> {
    let since = |window: f64| {
        let from = world.clicks.partition_point(|c| c.hours < hours - window);
        let to = world.clicks.partition_point(|c| c.hours < hours);
        world.clicks.get(from..to).unwrap_or_default()
    };
    if let Some(form) = form {
        let same = |click: &&Click| click.seen.fingerprint() == form.fingerprint();
        if let Some(click) = since(168.0).iter().rev().find(same) {
            return Some((click.ad, Method::Fingerprint, 0.90));
        }
    }
    let score = |click: &Click| {
        let near = 1.0 - (hours - click.hours) / 24.0;
        let Some(form) = form else { return 0.2 * near };
        let is_address = click.seen.address == form.address;
        let is_agent = click.seen.user_agent() == form.user_agent();
        0.5 * f64::from(u8::from(is_address)) + 0.3 * f64::from(u8::from(is_agent)) + 0.2 * near
    };
    let best = since(24.0)
        .iter()
        .max_by(|a, b| score(a).total_cmp(&score(b)))?;
    Some((best.ad, Method::Probabilistic, 0.70))
}
