//! HTTP/1 with a client: one request after another, until the connection is silent or over (RFC 9112 §9).
//!
//! Read, answered and written here, where hyper is at the other end of HTTP/2: what is read by [`Wire`](super::wire::Wire)
//! has been looked at byte by byte already, and to have it read once more, and handed from task to task, is a sixth of the
//! instructions of a request.

mod answer;
mod head;

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::{StatusCode, Version};

use self::answer::Answer;
use self::head::Asked;
use super::Handler;
use super::connection::ErrorChain;
use super::io::{self, Connection};
use super::shutdown::{Stage, Watch};
use super::wire::{Head, Spare};
use super::worker::Worker;
use crate::denial::Denial;
use crate::incoming::Incoming;
use crate::peer::Peer;
use crate::reply::Reply;

/// Why a connection has nothing more to say in HTTP.
pub(super) enum Pause<T> {
    /// It has been idle for a while.
    Silence,
    /// It has become something else than HTTP.
    Switch(T),
    /// The last answer is written, and may not have arrived.
    Goodbye,
    /// It is over.
    End,
}

/// A head, or why it is refused.
type Arrived = Result<Head, Denial>;

/// What follows an answer.
enum Next<T> {
    /// Another request.
    Head,
    Switch(T),
    Goodbye,
    End,
}

/// Serves a connection that has begun to speak, until it is silent.
pub(super) async fn serve<H: Handler>(
    connection: &Rc<Connection>,
    watch: &Watch,
    peer: &Peer,
    worker: &Worker<H>,
) -> Pause<H::Tunnel> {
    let speaking = Speaking { connection, watch, peer, worker };
    let mut spare = Spare::default();
    loop {
        let head = match poll_fn(|cx| speaking.poll_head(cx, &mut spare)).await {
            Ok(head) => head,
            Err(io::Pause::Silence) => return Pause::Silence,
            Err(io::Pause::End) => return Pause::End,
        };
        match speaking.exchange(head, &mut spare).await {
            Next::Head => {}
            Next::Switch(tunnel) => return Pause::Switch(tunnel),
            Next::Goodbye => return Pause::Goodbye,
            Next::End => return Pause::End,
        }
    }
}

/// A connection that is not silent, and who it is between.
struct Speaking<'c, H> {
    connection: &'c Rc<Connection>,
    watch: &'c Watch,
    peer: &'c Peer,
    worker: &'c Worker<H>,
}

impl<H: Handler> Speaking<'_, H> {
    /// Waits for the next head, or why it is refused.
    fn poll_head(&self, cx: &mut Context<'_>, spare: &mut Spare) -> Poll<Result<Arrived, io::Pause>> {
        match self.connection.poll_head(cx, spare) {
            Poll::Ready(Some(head)) => return Poll::Ready(Ok(head)),
            Poll::Ready(None) => return Poll::Ready(Err(io::Pause::End)),
            Poll::Pending => {}
        }
        // What has arrived is read before an idle connection closes.
        if self.watch.stage(cx) >= Stage::CloseIdle {
            return Poll::Ready(Err(io::Pause::End));
        }
        self.connection.poll_expired(cx).map(Err)
    }

    /// Answers one request, to the end of its answer.
    async fn exchange(&self, head: Arrived, spare: &mut Spare) -> Next<H::Tunnel> {
        let Self { connection, worker, .. } = self;
        connection.begin(head.as_ref().map_err(drop));
        let (asked, used, reply) = match head {
            Ok(head) => {
                let asked = Asked::of(&head);
                let used = Rc::clone(&head.parts);
                let Some(reply) = self.handle(head).await else { return Next::End };
                (asked, Some(used), reply)
            }
            Err(denial) => (Asked::nothing(), None, worker.handler.refuse(denial, self.peer, spare.take_refused())),
        };
        let Reply { head, mut body } = reply;
        let tunnel = (head.status == StatusCode::SWITCHING_PROTOCOLS).then(|| H::take_tunnel(&mut body)).flatten();
        if tunnel.is_some() {
            connection.switch();
        }
        let asked = if worker.drain.stage() == Stage::Serve { asked } else { asked.for_the_last_time() };
        let goes_on = {
            let mut answer = pin!(Answer::new(&head, body, asked));
            let written = poll_fn(|cx| match answer.as_mut().poll(cx, connection) {
                Poll::Pending => self.poll_over(cx).map(|()| None),
                Poll::Ready(written) => Poll::Ready(Some(written)),
            });
            match written.await {
                Some(Ok(goes_on)) => goes_on,
                Some(Err(error)) => {
                    tracing::debug!(error = %ErrorChain(&*error), "connection ended");
                    return Next::End;
                }
                None => return Next::End,
            }
        };
        if let Some(tunnel) = tunnel {
            return Next::Switch(tunnel);
        }
        if let Some(used) = used {
            spare.put(used);
        }
        if goes_on && (connection.end() || (self.is_taken().await && connection.end())) {
            return Next::Head;
        }
        Next::Goodbye
    }

    /// What the handler makes of it; `None` when nobody is there to be answered.
    async fn handle(&self, head: Head) -> Option<Reply<H::Body>> {
        let (connection, handler) = (self.connection, &self.worker.handler);
        // HTTP/1.0 knows no interim responses (RFC 9110 §15.2).
        let interim = (head.parts.version > Version::HTTP_10).then(|| connection.interim());
        let body = if connection.awaits_content() {
            let content = Rc::downgrade(connection);
            Incoming::http1(content)
        } else {
            Incoming::default()
        };
        let mut handling = pin!(handler.handle(head.parts, body, self.peer, interim));
        let mut held_back = None;
        poll_fn(|cx| {
            let answered = match held_back.take() {
                Some(response) => Poll::Ready(response),
                None => handling.as_mut().poll(cx),
            };
            // Whole before the answer, which may have come with it.
            match (connection.poll_interim(cx), answered) {
                (Poll::Ready(Err(_)), _) => return Poll::Ready(None),
                (Poll::Ready(Ok(())), Poll::Ready(response)) => return Poll::Ready(Some(response)),
                (Poll::Pending, Poll::Ready(response)) => held_back = Some(response),
                (_, Poll::Pending) => {}
            }
            self.poll_over(cx).map(|()| None)
        })
        .await
    }

    /// Whether what the client still sends of its request is taken to its end.
    async fn is_taken(&self) -> bool {
        poll_fn(|cx| match self.connection.poll_taken(cx) {
            Poll::Pending => self.poll_over(cx).map(|()| false),
            taken @ Poll::Ready(_) => taken,
        })
        .await
    }

    /// Ready when a request or its answer has to end here.
    fn poll_over(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.watch.stage(cx) == Stage::Cut {
            self.worker.drain.cut(!self.connection.is_idle());
            return Poll::Ready(());
        }
        if self.connection.poll_gone(cx).is_ready() {
            return Poll::Ready(());
        }
        self.connection.poll_expired(cx).map(drop)
    }
}
