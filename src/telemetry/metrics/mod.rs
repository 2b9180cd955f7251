//! What is counted, as Prometheus reads it.
//!
//! On the path of a request nothing is shared: each worker has counters of its own, which only its thread writes, and a
//! scrape sums them.

pub mod families;
mod requests;
mod samples;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

pub(super) use self::requests::Requests;
pub use self::samples::{CONTENT_TYPE, Samples};
use crate::clock::NumericDate;

/// Where to look when somebody scrapes. Clones are the same.
#[derive(Clone)]
pub struct Metrics {
    started: NumericDate,
    sources: Arc<Mutex<Vec<Source>>>,
}

type Source = Box<dyn Fn(&mut Samples) + Send>;

impl Metrics {
    /// Those of a process that began at this time. Every series of bounded labels is there from the start, with 0.
    pub fn new(started: NumericDate) -> Self {
        let metrics = Self { started, sources: Arc::default() };
        metrics.requests();
        metrics
    }

    /// Asks this source too, at each scrape.
    pub fn collect(&self, source: impl Fn(&mut Samples) + Send + 'static) {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(source));
    }

    /// The counters of one more worker.
    pub(super) fn requests(&self) -> Arc<Requests> {
        let requests = Arc::new(Requests::new());
        let counted = Arc::clone(&requests);
        self.collect(move |samples| counted.collect(samples));
        requests
    }

    /// What every source says now.
    pub fn samples(&self) -> Samples {
        let mut samples = Samples::default();
        for source in &*self.sources.lock().unwrap_or_else(PoisonError::into_inner) {
            source(&mut samples);
        }
        samples.count(&families::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1);
        samples.gauge(&families::START_TIME, &[], self.started.as_seconds());
        samples
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("started", &self.started).finish_non_exhaustive()
    }
}
