//! One request at an HTTP/2 origin.

use std::future::poll_fn;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::sync::watch;

use super::reply::Step;
use super::{Received, Shared};
use crate::support::origin::{KEPT_BODY, is_pattern, pattern};

/// The other end went away.
#[derive(Debug)]
struct Gone(Option<Reason>);

impl From<h2::Error> for Gone {
    fn from(error: h2::Error) -> Self {
        Self(error.reason().filter(|_| error.is_reset()))
    }
}

struct Exchange {
    received: Received,
    body: RecvStream,
    respond: SendResponse<Bytes>,
    sender: Option<SendStream<Bytes>>,
    shared: Shared,
    close: watch::Sender<bool>,
}

pub(super) async fn serve_stream(
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    shared: Shared,
    close: watch::Sender<bool>,
) {
    let (head, body) = request.into_parts();
    let reply = shared.state().reply_to(head.uri.path());
    let mut headers: Vec<_> = Vec::new();
    for (name, value) in [
        (":scheme", head.uri.scheme_str()),
        (":authority", head.uri.authority().map(http::uri::Authority::as_str)),
        (":protocol", head.extensions.get::<h2::ext::Protocol>().map(h2::ext::Protocol::as_str)),
    ] {
        headers.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    }
    headers.extend(fields(&head.headers));
    let target = head.uri.path_and_query().map_or("", |target| target.as_str()).to_owned();
    let method = head.method.to_string();
    let received =
        Received { method, target, version: "HTTP/2".to_owned(), headers, is_pattern: true, ..Received::default() };
    let mut exchange = Exchange { received, body, respond, sender: None, shared: shared.clone(), close };
    let outcome = exchange.play(&reply.0).await;
    let mut state = shared.state();
    if let Err(Gone(reason)) = outcome {
        state.resets.push(reason);
    }
    if !exchange.received.is_complete {
        state.received.push(exchange.received.clone());
    }
    state.streams = state.streams.saturating_sub(1);
}

fn head(status: u16, headers: &HeaderMap) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status.try_into().unwrap();
    *response.headers_mut() = headers.clone();
    response
}

fn fields(map: &HeaderMap) -> impl Iterator<Item = (String, String)> {
    map.iter().map(|(name, value)| (name.to_string(), value.as_bytes().iter().map(|byte| char::from(*byte)).collect()))
}

impl Exchange {
    async fn play(&mut self, steps: &[Step]) -> Result<(), Gone> {
        for step in steps {
            match step {
                Step::ReadBody => self.read_body().await?,
                Step::Interim(status, headers) => self.respond.send_informational(head(*status, headers))?,
                Step::Head(status, headers) => {
                    self.sender = Some(self.respond.send_response(head(*status, headers), false)?);
                }
                Step::Data(bytes) => self.write(Bytes::copy_from_slice(bytes)).await?,
                Step::Pattern(length) => self.write_pattern(*length).await?,
                Step::Echo => self.echo().await?,
                Step::End => self.sender().send_data(Bytes::new(), true)?,
                Step::Trailers(trailers) => self.sender().send_trailers(trailers.clone())?,
                Step::Hold => {
                    let mut released = self.shared.release.subscribe();
                    let Err(gone) = self.until(async { drop(released.wait_for(|count| *count > 0).await) }).await
                    else {
                        continue;
                    };
                    return Err(gone);
                }
                Step::Never => self.until(std::future::pending()).await?,
                Step::Reset(reason) => match &mut self.sender {
                    Some(sender) => sender.send_reset(*reason),
                    None => self.respond.send_reset(*reason),
                },
                Step::Close => drop(self.close.send(true)),
            }
        }
        Ok(())
    }

    fn sender(&mut self) -> &mut SendStream<Bytes> {
        self.sender.as_mut().expect("a head before")
    }

    /// What `other` waits for, unless the stream is reset before.
    async fn until(&mut self, other: impl Future<Output = ()>) -> Result<(), Gone> {
        let (respond, sender) = (&mut self.respond, &mut self.sender);
        let reset = poll_fn(|cx| match sender {
            Some(sender) => sender.poll_reset(cx),
            None => respond.poll_reset(cx),
        });
        tokio::select! {
            reason = reset => Err(Gone(reason.ok())),
            () = other => Ok(()),
        }
    }

    async fn write_pattern(&mut self, length: u64) -> Result<(), Gone> {
        let mut offset = 0;
        while offset < length {
            let bytes = pattern(offset, usize::try_from(length - offset).unwrap());
            self.write(Bytes::from_static(bytes)).await?;
            offset += bytes.len() as u64;
            self.shared.state().written += bytes.len() as u64;
        }
        Ok(())
    }

    async fn write(&mut self, mut bytes: Bytes) -> Result<(), Gone> {
        if self.received.method == "HEAD" {
            return Ok(());
        }
        let sender = self.sender();
        while !bytes.is_empty() {
            sender.reserve_capacity(bytes.len());
            if sender.capacity() == 0 {
                let room = poll_fn(|cx| sender.poll_capacity(cx)).await;
                if !matches!(room, Some(Ok(_))) {
                    return Err(Gone(poll_fn(|cx| sender.poll_reset(cx)).await.ok()));
                }
            }
            let next = bytes.split_to(sender.capacity().min(bytes.len()));
            if !next.is_empty() {
                sender.send_data(next, false)?;
            }
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Gone> {
        let Some(data) = self.body.data().await else { return Ok(None) };
        let data = data?;
        self.body.flow_control().release_capacity(data.len())?;
        let received = &mut self.received;
        received.is_pattern &= is_pattern(received.body_length, &data);
        let room = KEPT_BODY.saturating_sub(received.body.len());
        received.body.extend_from_slice(&data[..data.len().min(room)]);
        received.body_length += data.len() as u64;
        Ok(Some(data))
    }

    /// Whoever sees the reply finds the request recorded.
    async fn read_body(&mut self) -> Result<(), Gone> {
        while self.next().await?.is_some() {}
        self.finish().await.map(drop)
    }

    async fn finish(&mut self) -> Result<Option<HeaderMap>, Gone> {
        let trailers = self.body.trailers().await?;
        self.received.trailers.extend(trailers.iter().flat_map(fields));
        self.received.is_complete = true;
        self.shared.state().received.push(self.received.clone());
        Ok(trailers)
    }

    async fn echo(&mut self) -> Result<(), Gone> {
        while let Some(data) = self.next().await? {
            self.write(data).await?;
        }
        match self.finish().await? {
            Some(trailers) => self.sender().send_trailers(trailers)?,
            None => self.sender().send_data(Bytes::new(), true)?,
        }
        Ok(())
    }
}
