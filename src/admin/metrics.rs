//! `/metrics`: what the workers count, and what the control plane knows.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

use super::View;
use super::health::plain;
use crate::clock::NumericDate;
use crate::issuer::Status;
use crate::telemetry::metrics::families::{AGE, CLOCK_SKEW, FETCHES, KEYS, LAST_SUCCESS, READY};
use crate::telemetry::metrics::{CONTENT_TYPE, Samples};

pub(super) fn answer(view: &View) -> Response<Full<Bytes>> {
    let mut samples = view.metrics.samples();
    samples.count(&READY, &[], view.readiness.is_ready().into());
    for issuer in &view.issuers {
        add(&mut samples, &issuer.status());
    }
    let mut response = plain(StatusCode::OK, samples.to_string());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    response
}

fn add(samples: &mut Samples, Status { identifier, keys, age, report, .. }: &Status) {
    samples.count(&FETCHES, &[identifier, "success"], report.successes);
    samples.count(&FETCHES, &[identifier, "failure"], report.failures);
    samples.gauge(&LAST_SUCCESS, &[identifier], report.last_success.map_or(0.0, NumericDate::as_seconds));
    if let Some(age) = age {
        samples.gauge(&AGE, &[identifier], age.as_secs_f64());
    }
    samples.count(&KEYS, &[identifier], keys.len() as u64);
    if let Some(skew) = report.clock_skew {
        samples.gauge(&CLOCK_SKEW, &[identifier], skew);
    }
}
