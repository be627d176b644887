//! Group commit: what is asked for while another commit is on its way to the disk shares the next one.
//! Who asks alone waits for nobody; under load one sync serves many.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Notify, mpsc, oneshot};

use crate::store::StoreError;
use crate::store::nodes::Fence;

/// Requests that share a commit at most, so that no transaction grows without bound.
const BATCH_MAX: usize = 256;

/// Bytes that share a commit at most.
pub(in crate::store) const BATCH_BYTES_MAX: usize = 4 * 1_024 * 1_024;

/// How long a worker without work keeps what it works with.
const KEPT_FOR: Duration = Duration::from_millis(50);

/// One kind of work that is done for many at once.
pub(in crate::store) trait Work: Send + Sync + 'static {
    /// What is asked for.
    type Asked: Send + Sync + 'static;
    /// What is answered.
    type Answer: Send + 'static;
    /// What a worker keeps from one batch to the next while there is work, such as a connection.
    type Kept: Default + Send;
    /// What is being done.
    const DOING: &'static str;

    /// What the sizes of a batch come to at most at this time, except for one request that is larger by
    /// itself.
    fn size_max(&self) -> usize {
        BATCH_BYTES_MAX
    }

    /// How much a request adds to its batch that may be large: bytes, unless `size_max` counts
    /// something else.
    fn size(_asked: &Self::Asked) -> usize {
        0
    }

    /// Does all of it in one transaction, and answers each in the order of asking after the commit.
    /// An error of the whole means that nothing of it was done.
    fn work(
        &self,
        kept: &mut Self::Kept,
        batch: &[Request<Self::Asked>],
    ) -> impl Future<Output = Result<Vec<Result<Self::Answer, StoreError>>, StoreError>> + Send;
}

/// One thing that is asked for.
#[derive(Debug)]
pub(in crate::store) struct Request<T> {
    /// What.
    pub(in crate::store) asked: T,
    /// Under which lease, if any.
    pub(in crate::store) fence: Option<Arc<Fence>>,
}

type Answer<W> = Result<<W as Work>::Answer, StoreError>;
type Waiting<W> = (Request<<W as Work>::Asked>, oneshot::Sender<Answer<W>>);

/// The way to the workers that do one kind of work. They end with the last of its lanes.
pub(in crate::store) struct Lane<W: Work>(mpsc::Sender<Waiting<W>>);

impl<W: Work> std::fmt::Debug for Lane<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lane({})", W::DOING)
    }
}

impl<W: Work> Clone for Lane<W> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<W: Work> Lane<W> {
    /// Starts so many workers; each has one commit under way at most.
    pub(in crate::store) fn start(work: W, workers: usize) -> Self {
        let (sender, receiver) = mpsc::channel::<Waiting<W>>(BATCH_MAX);
        let (work, receiver) = (Arc::new(work), Arc::new(Mutex::new(receiver)));
        for _ in 0..workers {
            tokio::spawn(keep_working(work.clone(), receiver.clone()));
        }
        Self(sender)
    }

    /// Asks, and returns when it is on disk.
    pub(in crate::store) async fn ask(
        &self,
        asked: W::Asked,
        fence: Option<Arc<Fence>>,
    ) -> Result<W::Answer, StoreError> {
        let gone = || StoreError::Unavailable {
            doing: W::DOING,
            cause: "the store is closed".into(),
        };
        let (answer, answered) = oneshot::channel();
        let request = Request { asked, fence };
        self.0.send((request, answer)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

/// Takes what has arrived, whoever's turn it is, and does it. What arrives while all are at work waits
/// for the first that is free.
async fn keep_working<W: Work>(work: Arc<W>, receiver: Arc<Mutex<mpsc::Receiver<Waiting<W>>>>) {
    let mut kept = None;
    loop {
        let mut arrived = Vec::new();
        let taken = async {
            receiver
                .lock()
                .await
                .recv_many(&mut arrived, BATCH_MAX)
                .await
        };
        let count = if kept.is_some() {
            tokio::time::timeout(KEPT_FOR, taken).await.ok()
        } else {
            Some(taken.await)
        };
        match count {
            None => kept = None,
            Some(0) => return,
            Some(_) => {
                let kept = kept.get_or_insert_default();
                for batch in cut::<W>(arrived, work.size_max()) {
                    serve(&*work, kept, batch).await;
                }
            }
        }
    }
}

/// Cuts what arrived into batches of a bearable size.
fn cut<W: Work>(arrived: Vec<Waiting<W>>, size_max: usize) -> Vec<Vec<Waiting<W>>> {
    let mut batches: Vec<Vec<Waiting<W>>> = Vec::new();
    let mut sum = 0;
    for waiting in arrived {
        let size = W::size(&waiting.0.asked);
        sum += size;
        match batches.last_mut() {
            Some(batch) if sum <= size_max => batch.push(waiting),
            _ => {
                sum = size;
                batches.push(vec![waiting]);
            }
        }
    }
    batches
}

/// Does a batch and tells each how it went.
async fn serve<W: Work>(work: &W, kept: &mut W::Kept, batch: Vec<Waiting<W>>) {
    let (requests, answers): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
    let results = match work.work(kept, &requests).await {
        Ok(results) => results,
        // One bad request undoes the transaction of all, so each gets one of its own and only the bad
        // one fails.
        Err(StoreError::Broken { .. }) if requests.len() > 1 => {
            let mut results = Vec::with_capacity(requests.len());
            for request in &requests {
                let alone = work.work(kept, std::slice::from_ref(request)).await;
                results.push(
                    alone.and_then(|mut one| one.pop().unwrap_or_else(|| Err(no_answer(W::DOING)))),
                );
            }
            results
        }
        Err(error) => (0..requests.len()).map(|_| Err(again(&error))).collect(),
    };
    let mut results = results.into_iter();
    for answer in answers {
        let result = results.next().unwrap_or_else(|| Err(no_answer(W::DOING)));
        let _ = answer.send(result); // whoever asked may be gone; what was done stands
    }
}

/// That the work answered fewer than had asked.
pub(in crate::store) fn no_answer(doing: &'static str) -> StoreError {
    StoreError::Broken {
        doing,
        cause: "a request got no answer".into(),
    }
}

/// How long who can wait gives way to those who cannot, at most.
const GIVE_WAY_FOR: Duration = Duration::from_secs(1);

/// Those who cannot wait, and those who give way to them: a vendor gives up on an acknowledgement after
/// seconds, and what it is about can be read when the rush is over. Who gives way does so for a bounded
/// time, so that a rush without an end is worked off beside it.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct Rush(Arc<Crowd>);

#[derive(Debug, Default)]
struct Crowd {
    count: AtomicUsize,
    is_over: Notify,
}

/// One who cannot wait, until dropped.
#[derive(Debug)]
pub(in crate::store) struct InRush<'r>(&'r Crowd);

impl Rush {
    /// Joins those who cannot wait.
    pub(in crate::store) fn join(&self) -> InRush<'_> {
        self.0.count.fetch_add(1, Ordering::SeqCst);
        InRush(&self.0)
    }

    /// Whether there is somebody who cannot wait.
    pub(in crate::store) fn is_on(&self) -> bool {
        self.0.count.load(Ordering::SeqCst) > 0
    }

    /// Waits until there is nobody who cannot, or long enough.
    pub(in crate::store) async fn give_way(&self) {
        let is_over = self.0.is_over.notified(); // from here on none is missed
        if self.is_on() {
            let _ = tokio::time::timeout(GIVE_WAY_FOR, is_over).await; // either is reason to go on
        }
    }
}

impl Drop for InRush<'_> {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.is_over.notify_waiters();
        }
    }
}

/// The failure of a batch as each of those who share it is told.
fn again(error: &StoreError) -> StoreError {
    let told = |cause: &dyn std::error::Error| cause.to_string().into();
    match error {
        StoreError::Unavailable { doing, cause } => StoreError::Unavailable {
            doing,
            cause: told(&**cause),
        },
        StoreError::Broken { doing, cause } => StoreError::Broken {
            doing,
            cause: told(&**cause),
        },
        StoreError::Deposed { doing, tenant } => StoreError::Deposed {
            doing,
            tenant: tenant.clone(),
        },
        other => StoreError::Broken {
            doing: "sharing a commit",
            cause: other.to_string().into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Notes how many came together; refuses odd numbers alone, and 13 with all that came with it.
    struct Noting(Arc<Mutex<Vec<usize>>>);

    impl Work for Noting {
        type Asked = u32;
        type Answer = u32;
        type Kept = ();
        const DOING: &'static str = "noting";

        fn size(asked: &u32) -> usize {
            if *asked == 1_000_000 {
                BATCH_BYTES_MAX
            } else {
                1
            }
        }

        async fn work(
            &self,
            _: &mut (),
            batch: &[Request<u32>],
        ) -> Result<Vec<Result<u32, StoreError>>, StoreError> {
            self.0.lock().unwrap().push(batch.len());
            tokio::task::yield_now().await;
            let broken = || StoreError::Broken {
                doing: Self::DOING,
                cause: "odd".into(),
            };
            if batch.iter().any(|request| request.asked == 13) {
                return Err(broken());
            }
            Ok(batch
                .iter()
                .map(|request| match request.asked {
                    odd if odd % 2 == 1 => Err(broken()),
                    even => Ok(even),
                })
                .collect())
        }
    }

    async fn ask(lane: &Lane<Noting>, numbers: impl Iterator<Item = u32>) -> Vec<Option<u32>> {
        let all = numbers.map(|n| lane.ask(n, None));
        futures_util::future::join_all(all)
            .await
            .into_iter()
            .map(Result::ok)
            .collect()
    }

    #[tokio::test]
    async fn those_who_come_together_share_a_commit() {
        let batches = Arc::default();
        let lane = Lane::start(Noting(Arc::clone(&batches)), 1);
        let answers = ask(&lane, 0..10).await;
        assert_eq!(answers[..3], [Some(0), None, Some(2)]);
        assert_eq!(*batches.lock().unwrap(), [10]);
    }

    #[tokio::test]
    async fn a_bad_request_fails_alone() {
        let lane = Lane::start(Noting(Arc::default()), 1);
        let answers = ask(&lane, [12, 13, 14].into_iter()).await;
        assert_eq!(answers, [Some(12), None, Some(14)]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_can_wait_gives_way_but_not_for_ever() {
        let rush = Rush::default();
        let took = async || {
            let begin = tokio::time::Instant::now();
            rush.give_way().await;
            begin.elapsed()
        };
        assert_eq!(took().await, Duration::ZERO);
        let (first, second) = (rush.join(), rush.join());
        assert_eq!(took().await, GIVE_WAY_FOR);
        drop(first);
        let over = async {
            tokio::time::advance(GIVE_WAY_FOR / 2).await;
            drop(second);
        };
        assert_eq!(tokio::join!(took(), over).0, GIVE_WAY_FOR / 2);
    }

    #[tokio::test]
    async fn a_batch_has_a_bound() {
        let batches = Arc::default();
        let lane = Lane::start(Noting(Arc::clone(&batches)), 1);
        ask(&lane, [0, 1_000_000, 2, 4].into_iter()).await;
        assert_eq!(*batches.lock().unwrap(), [1, 1, 2]);
        batches.lock().unwrap().clear();
        ask(&lane, (0..600).map(|n| n * 2)).await;
        assert!(batches.lock().unwrap().iter().all(|n| *n <= BATCH_MAX));
    }
}
