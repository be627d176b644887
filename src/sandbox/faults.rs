//! What breaks, when, and how: a plan of faults that calls are matched against.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::domain::ids::TenantId;
use crate::domain::time::Timestamp;

use super::draw::Draw;

/// Whose calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vendor {
    /// The Marketing API.
    Meta,
    /// The CRM.
    Hubspot,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FaultAction {
    /// An empty-handed answer of this status; nothing is applied.
    Status {
        /// Such as 500 or 503.
        status: u16,
    },
    /// Meta's "Please reduce the amount of data" (code 1, HTTP 500).
    ReduceData,
    /// The vendor's throttle error; nothing is applied.
    Throttle,
    /// An error of Meta's with this code; nothing is applied.
    Error {
        /// Such as 2.
        code: i64,
        /// 0 for none.
        #[serde(default)]
        subcode: i64,
    },
    /// The call is one of a batch that Meta does not get round to; by itself it is a passing error.
    NotRun,
    /// A page of HTML with status 200; nothing is applied.
    Html,
    /// The right answer, cut in the middle.
    Truncate,
    /// The right answer, but the connection breaks in the middle of its body.
    BreakBody,
    /// The connection ends before the call is looked at.
    DropBefore,
    /// The connection ends after the call was carried out: its outcome is unknown to the caller.
    DropAfter,
    /// The call is carried out; its answer waits until it is released.
    Hold,
    /// The report that this call orders comes to that; any other call is answered as ever.
    Report {
        /// To what.
        fate: ReportFate,
    },
    /// The caller's token is revoked from now on.
    RevokeToken,
    /// The caller's token has expired from now on.
    ExpireToken,
    /// The caller's token has all its rights again from now on.
    RenewToken,
    /// The caller's token at Meta has only these rights from now on, such as `ads_read`.
    LimitScopes {
        /// What is left.
        scopes: Vec<String>,
    },
}

/// What becomes of a report of Meta's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ReportFate {
    /// It fails with this error.
    Fails {
        /// Such as 100.
        code: i64,
        /// 0 for none.
        #[serde(default)]
        subcode: i64,
    },
    /// It expires before it runs.
    Skipped,
    /// It takes so many seconds, and claims to be completed at 99 % before.
    Slow {
        /// How many.
        seconds: i64,
    },
    /// It is not there for the first looks.
    Missing {
        /// For how many.
        looks: u32,
    },
}

/// A fault and the calls that it meets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Whose calls.
    pub vendor: Vendor,
    /// `GET` or `POST`; any when missing.
    #[serde(default)]
    pub method: Option<String>,
    /// What the path or query has to contain; anything when missing.
    #[serde(default)]
    pub path: Option<String>,
    /// Matching calls that are spared first.
    #[serde(default)]
    pub skip: u64,
    /// How often it strikes; 0 for always.
    #[serde(default = "once")]
    pub times: u64,
    /// The chance that a matching call is struck, drawn by its number among the matching ones.
    #[serde(default = "surely")]
    pub probability: f64,
    /// What goes wrong.
    pub action: FaultAction,
}

const fn once() -> u64 {
    1
}

const fn surely() -> f64 {
    1.0
}

impl Fault {
    /// A fault that strikes the next call to `vendor` whose path contains `path`, once.
    #[must_use]
    pub fn next(vendor: Vendor, method: &str, path: &str, action: FaultAction) -> Self {
        Self {
            vendor,
            method: Some(method.to_owned()),
            path: Some(path.to_owned()),
            skip: 0,
            times: 1,
            probability: 1.0,
            action,
        }
    }
}

/// An edit that a person makes in Ads Manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HumanEdit {
    /// Whose account.
    pub tenant: TenantId,
    /// When; now, when missing.
    pub at: Option<Timestamp>,
    /// An id of Meta's, or a place such as `adset/0`, `campaign/1`, `ad/4`.
    pub entity: String,
    /// `status`, `daily_budget` (minor units) or `name`.
    pub field: String,
    /// The new value.
    pub value: String,
    /// The application that history shows for it; Ads Manager's is not roasd's.
    pub application_id: String,
}

#[derive(Debug)]
struct Armed {
    fault: Fault,
    matched: u64,
    struck: u64,
}

/// The plan in force.
#[derive(Debug)]
pub(super) struct Faults {
    draw: Draw,
    armed: Mutex<Vec<Armed>>,
    released: watch::Sender<u64>,
}

impl Faults {
    pub(super) fn new(seed: u64, plan: &[Fault]) -> Self {
        let faults = Self {
            draw: Draw::seeded(seed).named("faults"),
            armed: Mutex::new(Vec::new()),
            released: watch::channel(0).0,
        };
        for fault in plan {
            faults.add(fault.clone());
        }
        faults
    }

    fn armed(&self) -> MutexGuard<'_, Vec<Armed>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, fault: Fault) {
        self.armed().push(Armed {
            fault,
            matched: 0,
            struck: 0,
        });
    }

    /// Ends all faults.
    pub(super) fn clear(&self) {
        self.armed().clear();
    }

    /// The fault that strikes this call, if any; each call is counted once for each fault.
    pub(super) fn strike(&self, vendor: Vendor, method: &str, target: &str) -> Option<FaultAction> {
        let mut hit = None;
        for (i, armed) in self.armed().iter_mut().enumerate() {
            let fault = &armed.fault;
            let fits = fault.vendor == vendor
                && fault.method.as_deref().is_none_or(|m| m == method)
                && fault.path.as_deref().is_none_or(|p| target.contains(p));
            if !fits {
                continue;
            }
            let number = armed.matched;
            armed.matched += 1;
            let spent = fault.times != 0 && armed.struck >= fault.times;
            let lucky = !self.draw.of(i as u64).of(number).chance(fault.probability);
            if hit.is_some() || number < fault.skip || spent || lucky {
                continue;
            }
            armed.struck += 1;
            hit = Some(fault.action.clone());
        }
        hit
    }

    /// Waits until somebody releases the held answers: any release from this call on counts, also
    /// one that comes before the wait is first polled. So it is called before the fault strikes and
    /// before the answer is made, since either can be seen from outside and answered by a release.
    pub(super) fn wait(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut released = self.released.subscribe();
        async move {
            let _ = released.changed().await;
        }
    }

    pub(super) fn release(&self) {
        self.released.send_modify(|n| *n += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_the_calls_it_names_and_no_others() {
        let mut fault = Fault::next(Vendor::Meta, "POST", "/1202", FaultAction::DropAfter);
        fault.skip = 1;
        let faults = Faults::new(1, &[fault]);
        let check = |vendor, method, path, want: bool| {
            let hit = faults.strike(vendor, method, path).is_some();
            assert_eq!(hit, want, "{method} {path}");
        };
        check(Vendor::Meta, "GET", "/v25.0/1202", false);
        check(Vendor::Hubspot, "POST", "/1202", false);
        check(Vendor::Meta, "POST", "/v25.0/1202", false);
        check(Vendor::Meta, "POST", "/v25.0/1202", true);
        check(Vendor::Meta, "POST", "/v25.0/1202", false);
    }

    #[test]
    fn a_chance_is_drawn_by_the_number_of_the_call() {
        let plan = Fault {
            vendor: Vendor::Meta,
            method: None,
            path: None,
            skip: 0,
            times: 0,
            probability: 0.3,
            action: FaultAction::Html,
        };
        let run = || {
            let faults = Faults::new(9, std::slice::from_ref(&plan));
            (0..200)
                .map(|_| faults.strike(Vendor::Meta, "GET", "/").is_some())
                .collect::<Vec<_>>()
        };
        let hits = run().iter().filter(|hit| **hit).count();
        assert_eq!(run(), run());
        assert!((40..80).contains(&hits), "{hits}");
    }

    #[tokio::test]
    async fn a_release_before_the_first_poll_is_not_missed() {
        use futures_util::FutureExt as _;
        let faults = Faults::new(1, &[]);
        faults.release();
        let early = faults.wait();
        assert_eq!(early.now_or_never(), None, "a release from before counts");
        let held = [faults.wait(), faults.wait()];
        faults.release();
        for wait in held {
            assert_eq!(wait.now_or_never(), Some(()), "a release was missed");
        }
    }
}
