//! Reads the CRM's whole list of deals once in a while: what was deleted, and what no webhook and no
//! search told of. The list has no cap, and says only which deals there are and when they changed;
//! those that are not as they are kept are read.

use super::Trouble;
use super::crm::{Crm, DEALS, PART, Reached, horizon, hubspot};
use crate::domain::ids::DealId;
use crate::domain::time::{self, Timestamp};
use crate::store::syncs::{ListedDeal, ListedPage, Span, SyncCounts};

/// The cursor of a scan that is under way; empty without one.
const SCAN: &str = "crm.scan";

/// What a scan is at.
#[derive(Debug, Clone, PartialEq, Eq)]
enum At {
    /// The list of deals that are there, from this page on.
    There(Option<String>),
    /// The list of archived ones.
    Archived(Option<String>),
    /// What is kept and no list has named, above this deal.
    Unlisted(Option<DealId>),
}

/// A scan that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Scan {
    begun: Timestamp,
    /// Whether deals are read however old they are.
    is_full: bool,
    at: At,
}

impl Scan {
    fn new(begun: Timestamp, is_full: bool) -> Self {
        Self {
            begun,
            is_full,
            at: At::There(None),
        }
    }

    /// The place in words: when it began, how much it reads, what it is at, and where.
    fn place(&self) -> String {
        let (at, page) = match &self.at {
            At::There(page) => ("there", page.as_deref()),
            At::Archived(page) => ("archived", page.as_deref()),
            At::Unlisted(deal) => ("unlisted", deal.as_ref().map(DealId::as_str)),
        };
        let reach = if self.is_full { "full" } else { "recent" };
        let begun = time::to_micros(self.begun);
        format!("{begun} {reach} {at} {}", page.unwrap_or_default())
    }

    fn resumed(place: &str) -> Option<Self> {
        let mut words = place.splitn(4, ' ');
        let begun = time::from_micros(words.next()?.parse().ok()?);
        let is_full = words.next()? == "full";
        let at = words.next()?;
        let page = words.next().filter(|page| !page.is_empty());
        Some(Self {
            begun,
            is_full,
            at: match at {
                "there" => At::There(page.map(ToOwned::to_owned)),
                "archived" => At::Archived(page.map(ToOwned::to_owned)),
                "unlisted" => At::Unlisted(page.map(DealId::new).transpose().ok()?),
                _ => return None,
            },
        })
    }
}

impl Crm<'_> {
    /// Scans the list, a part of it at a time. With `is_full` a scan that reads less begins anew.
    pub(super) async fn scan(
        &self,
        is_full: bool,
        counts: &mut SyncCounts,
    ) -> Result<Reached, Trouble> {
        let kept = self.place(SCAN).await?;
        let mut scan = kept
            .and_then(|place| Scan::resumed(&place))
            .filter(|scan| scan.is_full || !is_full)
            .unwrap_or_else(|| Scan::new(self.context.clock.now(), is_full));
        let begun = (counts.listed, counts.deals);
        while counts.listed - begun.0 < 5 * PART && counts.deals - begun.1 < PART {
            let next = match scan.at.clone() {
                At::There(page) => match self.list(&scan, page, false, counts).await? {
                    Some(page) => At::There(Some(page)),
                    None => At::Archived(None),
                },
                At::Archived(page) => match self.list(&scan, page, true, counts).await? {
                    Some(page) => At::Archived(Some(page)),
                    None => At::Unlisted(None),
                },
                At::Unlisted(after) => match self.read_unlisted(&scan, after, counts).await? {
                    Some(last) => At::Unlisted(Some(last)),
                    None => {
                        self.set_place(SCAN, "").await?;
                        return Ok(Reached::End);
                    }
                },
            };
            scan.at = next;
            self.set_place(SCAN, &scan.place()).await?;
        }
        Ok(Reached::Part)
    }

    /// Reads a page of the list and what of it is not as it is kept; gives the next page.
    async fn list(
        &self,
        scan: &Scan,
        page: Option<String>,
        is_archived: bool,
        counts: &mut SyncCounts,
    ) -> Result<Option<String>, Trouble> {
        let (store, tenant) = (&self.context.store, &self.context.tenant);
        let found = self.client.list_deals(page.as_deref(), is_archived).await;
        let found = found.map_err(hubspot)?;
        counts.listed += found.deals.len() as u64;
        let listed = found.deals.into_iter().map(|deal| ListedDeal {
            id: deal.id,
            modified_at: deal.modified_at,
        });
        let horizon = match scan.is_full {
            true => Timestamp::MIN,
            false => horizon(scan.begun),
        };
        let listed = ListedPage {
            deals: &listed.collect::<Vec<_>>(),
            is_archived,
            scan: scan.begun,
            horizon,
        };
        let wanted = store.note_listed(&tenant.id, &listed).await?;
        self.read_deals(&wanted, counts).await?;
        // A page that leads to itself would be read without end.
        Ok(found.next.filter(|next| Some(next) != page.as_ref()))
    }

    /// Reads deals that are kept and that the list did not name; gives the last of them.
    async fn read_unlisted(
        &self,
        scan: &Scan,
        after: Option<DealId>,
        counts: &mut SyncCounts,
    ) -> Result<Option<DealId>, Trouble> {
        let (store, tenant) = (&self.context.store, &self.context.tenant);
        let span = Span {
            after: after.as_ref(),
            limit: DEALS,
        };
        let ids = store.unlisted_deals(&tenant.id, scan.begun, span).await?;
        self.read_deals(&ids, counts).await?;
        Ok(ids.last().cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_goes_on_where_it_was() {
        let begun = time::from_seconds(1_800_000_000);
        let deal = DealId::new("12").unwrap();
        for at in [
            At::There(None),
            At::There(Some("MTAw".to_owned())),
            At::Archived(None),
            At::Archived(Some("a b".to_owned())),
            At::Unlisted(None),
            At::Unlisted(Some(deal)),
        ] {
            for is_full in [false, true] {
                let at = at.clone();
                let scan = Scan { begun, is_full, at };
                assert_eq!(Scan::resumed(&scan.place()), Some(scan));
            }
        }
        for bad in ["", "1", "1 full", "x full there ", "1 full house "] {
            assert_eq!(Scan::resumed(bad), None, "{bad}");
        }
    }
}
