//! An issuer's connections.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::{Mood, State};
use crate::support::certificate::Certificate;

pub(super) async fn serve(
    listener: std::net::TcpListener,
    state: Arc<Mutex<State>>,
    mut stopped: oneshot::Receiver<()>,
) {
    let listener = TcpListener::from_std(listener).unwrap();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                connections.spawn_local(connection(accepted.unwrap().0, Arc::clone(&state)));
            }
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    std::panic::resume_unwind(error.into_panic());
                }
            }
            _ = &mut stopped => return,
        }
    }
}

async fn connection(stream: TcpStream, state: Arc<Mutex<State>>) {
    let (mood, tls) = {
        let state = state.lock().unwrap();
        (state.mood.clone(), state.certificate.as_ref().map(Certificate::acceptor))
    };
    // A client that goes away is none of the issuer's business.
    match (mood, tls) {
        (Mood::Raw(bytes), _) => drop(say(stream, &bytes, &state).await),
        (Mood::Drips(bytes), _) => {
            let Ok(mut stream) = say(stream, &bytes, &state).await else { return };
            while stream.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        (_, Some(tls)) => {
            let Ok(stream) = tls.accept(stream).await else { return };
            exchange(stream, state).await;
        }
        (_, None) => exchange(stream, state).await,
    }
}

/// Reads a head and says these bytes.
async fn say(stream: TcpStream, bytes: &[u8], state: &Mutex<State>) -> std::io::Result<TcpStream> {
    let (mut stream, mut head) = (BufReader::new(stream), String::new());
    while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).await? > 0 {}
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    *state.lock().unwrap().hits.entry(path).or_default() += 1;
    stream.write_all(bytes).await?;
    Ok(stream.into_inner())
}

async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin, state: Arc<Mutex<State>>) {
    let (down, is_down) = oneshot::channel::<()>();
    let down = Mutex::new(Some(down));
    let service = service_fn(|request: http::Request<hyper::body::Incoming>| {
        let (state, down) = (&state, &down);
        async move {
            let path = request.uri().path().to_owned();
            let (delay, mood, mut held) = {
                let mut state = state.lock().unwrap();
                *state.hits.entry(path.clone()).or_default() += 1;
                (state.delay, state.mood.clone(), state.held.subscribe())
            };
            tokio::time::sleep(delay).await;
            match mood {
                Mood::Hangs => std::future::pending::<()>().await,
                Mood::Down => {
                    drop(down.lock().unwrap().take());
                    std::future::pending::<()>().await;
                }
                Mood::Well | Mood::Answers(..) | Mood::Raw(_) | Mood::Drips(_) => {}
            }
            let if_none_match = request.headers().get("if-none-match").and_then(|value| value.to_str().ok());
            let authorization = request.headers().get("authorization").and_then(|value| value.to_str().ok());
            let answer = state.lock().unwrap().answer_to(authorization, &path, if_none_match);
            drop(held.wait_for(|is_held| !is_held).await);
            Ok::<_, Infallible>(answer)
        }
    });
    tokio::select! {
        _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service) => {}
        _ = is_down => {}
    }
}
