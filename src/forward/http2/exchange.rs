//! One request and its response.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use tokio::task::JoinHandle;

use super::cancelled::Handles;
use super::connection::Stream;
use super::head::translate;
use super::upload::Upload;
use crate::denial::Denial;
use crate::forward::answer::{Broken, Truncated};
use crate::forward::body::{Exchange, RequestBody};
use crate::forward::pool::Failure;
use crate::forward::response_head::filter_interim;
use crate::interim::Interim;
use crate::reply::are_field_names;

impl Stream {
    /// Sends one request and waits for the head of its response.
    pub(in crate::forward) async fn send(
        mut self,
        request: Request<RequestBody>,
        client: Option<&Interim>,
    ) -> Result<Response<Answer>, Failure> {
        let (parts, body) = request.into_parts();
        let answers_head = parts.method == Method::HEAD;
        let head = match translate(parts, self.connection().scheme()) {
            Ok(head) => head,
            Err(denial) => return Err(failure(Broken::Denied(denial), None)),
        };
        let is_bodiless = http_body::Body::is_end_stream(&body);
        let (response, stream) = match self.connection().sender().send_request(head, is_bodiless) {
            Ok(sent) => sent,
            // Also when the origin has just said that it takes no more.
            Err(error) => return Err(failure(Broken::Http2(error), Some(body))),
        };
        self.sent(Handles { response, body: stream });
        let mut body = Some(body);
        let mut upload = body.take_if(|_| !is_bodiless).map(Upload::new);
        let mut is_uploading = upload.is_some();
        let answered = poll_fn(|cx| {
            let Some(Handles { response, body }) = self.handles() else { return Poll::Pending };
            if let Some(upload) = upload.as_mut().filter(|_| is_uploading) {
                match upload.poll(cx, body) {
                    Poll::Ready(Ok(())) => is_uploading = false,
                    Poll::Ready(Err(cut)) => return Poll::Ready(Err(Broken::Cut(cut))),
                    Poll::Pending => {}
                }
            }
            if let Some(client) = client {
                tell(response, client, cx);
            }
            Pin::new(response).poll(cx).map_err(Broken::Http2)
        });
        match answered.await {
            Ok(response) if !are_field_names(response.headers()) => {
                Err(failure(Broken::Denied(Denial::UpstreamProtocol("a field's name".into())), None))
            }
            Ok(response) => {
                let handles = self.answered().filter(|_| is_uploading);
                let upload = upload.zip(handles).map(|(upload, handles)| Running::start(upload, handles.body));
                Ok(Answer::of(response, answers_head, upload, self))
            }
            Err(Broken::Http2(error)) => {
                self.answered();
                self.is_over();
                let unsent = is_unprocessed(&error).then(|| body.or_else(|| upload?.into_body())).flatten();
                Err(failure(Broken::Http2(error), unsent))
            }
            // The rest of it is cancelled.
            Err(error) => Err(failure(error, None)),
        }
    }
}

/// Passes on interim responses (RFC 9110 §15.2), but what was asked for here, and what is none in HTTP/2 (RFC 9113 §8.6) and
/// would end HTTP for the client.
fn tell(response: &mut ResponseFuture, client: &Interim, cx: &mut Context<'_>) {
    while let Poll::Ready(Some(Ok(interim))) = response.poll_informational(cx) {
        let (mut head, ()) = interim.into_parts();
        if !matches!(head.status, StatusCode::CONTINUE | StatusCode::SWITCHING_PROTOCOLS)
            && are_field_names(&head.headers)
            && filter_interim(&mut head.headers).is_ok()
        {
            client.push(head.status, &head.headers);
        }
    }
}

/// Whether the origin has said that it has not acted upon the request (RFC 9113 §8.7).
fn is_unprocessed(error: &h2::Error) -> bool {
    let is_refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    // h2 gives that of a GOAWAY to the streams behind the last one that the origin has seen, and to no others.
    error.is_remote() && (is_refused || error.is_go_away())
}

/// Whether the origin has only said that it needs no more of the request. That is allowed behind the end of its response
/// (RFC 9113 §8.1), where h2 does not report it; an error of h2 says that the reset came before the end.
fn is_reset_without_error(error: &h2::Error) -> bool {
    error.is_reset() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR)
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn failure(error: Broken, unsent: Option<RequestBody>) -> Failure {
    Failure { was_idle: unsent.is_some(), unsent, has_answered: false, error }
}

/// A request body that is still on its way though the response has begun: neither waits for the other.
#[derive(Debug)]
struct Running(JoinHandle<()>);

impl Running {
    fn start(mut upload: Upload, mut stream: SendStream<Bytes>) -> Self {
        upload.forget();
        Self(tokio::task::spawn_local(async move {
            if poll_fn(|cx| upload.poll(cx, &mut stream)).await.is_err() {
                stream.send_reset(Reason::CANCEL);
            }
        }))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The body of a response. Dropped before its end, it resets its stream.
#[derive(Debug)]
pub(in crate::forward) struct Answer {
    body: RecvStream,
    upload: Option<Running>,
    stream: Option<Stream>,
    part: Part,
    /// What is to come, where the origin has said so.
    left: Option<u64>,
}

#[derive(Debug, Eq, PartialEq)]
enum Part {
    Data,
    Trailers,
    End,
}

impl Answer {
    fn of(
        response: Response<RecvStream>,
        answers_head: bool,
        upload: Option<Running>,
        stream: Stream,
    ) -> Response<Self> {
        let length = content_length(response.headers());
        let has_no_body =
            answers_head || matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        response.map(|body| {
            if has_no_body { Self::without_body(body, upload, stream) } else { Self::new(body, length, upload, stream) }
        })
    }

    fn new(body: RecvStream, length: Option<u64>, upload: Option<Running>, stream: Stream) -> Self {
        let left = if body.is_end_stream() { Some(0) } else { length };
        Self { body, upload, stream: Some(stream), part: Part::Data, left }
    }

    /// The answer to HEAD, a 204 or a 304 ends with its head (RFC 9110 §6.4.1), whatever the origin sends behind it.
    fn without_body(body: RecvStream, upload: Option<Running>, stream: Stream) -> Self {
        Self { body, upload, stream: Some(stream), part: Part::End, left: Some(0) }
    }

    pub(in crate::forward) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.part == Part::Data {
            match ready!(self.body.poll_data(cx)) {
                Some(Ok(data)) => return Poll::Ready(Some(self.pass(data).map(Frame::data).map_err(Broken::Http2))),
                Some(Err(error)) if !is_reset_without_error(&error) => {
                    return Poll::Ready(Some(Err(Broken::Http2(error))));
                }
                Some(Err(_)) if self.left != Some(0) => return Poll::Ready(Some(Err(Broken::Truncated(Truncated)))),
                Some(Err(_)) => self.part = Part::End,
                None => self.part = Part::Trailers,
            }
        }
        if self.part == Part::End {
            return Poll::Ready(None);
        }
        let trailers = ready!(self.body.poll_trailers(cx)).transpose();
        self.part = Part::End;
        Poll::Ready(trailers.map(|trailers| trailers.map(Frame::trailers).map_err(Broken::Http2)))
    }

    /// What the client takes makes room for more.
    fn pass(&mut self, data: Bytes) -> Result<Bytes, h2::Error> {
        self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
        self.body.flow_control().release_capacity(data.len())?;
        Ok(data)
    }

    /// Whether the stream has ended with nothing behind the head of the response. A server may end it with an empty frame.
    fn has_ended_empty(&mut self) -> bool {
        let noop = &mut Context::from_waker(Waker::noop());
        loop {
            match self.body.poll_data(noop) {
                Poll::Ready(Some(Ok(data))) if data.is_empty() => {}
                Poll::Ready(None) => return true,
                Poll::Ready(Some(_)) | Poll::Pending => return false,
            }
        }
    }

    pub(in crate::forward) fn is_end_stream(&self) -> bool {
        self.part == Part::End || self.body.is_end_stream()
    }

    pub(in crate::forward) fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    /// The response is complete; the rest of the request is still on its way, for as long as the origin takes it.
    pub(in crate::forward) fn complete(&mut self, exchange: &Rc<Exchange>) {
        let mut stream = self.stream.take();
        // Where more comes than the response has, dropping the stream resets it, and counts as that.
        if self.body.is_end_stream() || self.has_ended_empty() {
            stream.iter_mut().for_each(Stream::is_over);
        }
        if let Some(mut upload) = self.upload.take().filter(|upload| !upload.0.is_finished()) {
            let exchange = Rc::clone(exchange);
            exchange.await_origin();
            tokio::task::spawn_local(async move {
                tokio::select! {
                    _ = &mut upload.0 => {}
                    () = exchange.deadline().elapsed() => {}
                }
                drop(stream);
            });
        }
    }
}
