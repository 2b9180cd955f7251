//! What a client reads late.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::support::http2::{PREFACE, USUAL, fields_block, frame};
use crate::support::origin::is_pattern;
use crate::support::{Authority, House, Reply, Secret, patiently, stands_still};

const MUCH: u32 = 1 << 24;

/// TLS keeps back what the kernel does not take; a unix socket takes some 200 KiB.
#[tokio::test]
async fn an_answer_that_waits_in_tls_is_not_taken_for_read() {
    let (authority, path) =
        (Authority::new(), std::env::temp_dir().join(format!("claimgate-{:08x}.sock", fastrand::u32(..))));
    let (secret, listen) = (Secret::new(&authority.issue(), &authority), format!("unix:{}", path.display()));
    let flags = ["--workers", "1", "--listen", &listen, "--idle-timeout", "100ms", "--skip-auth-route", "/*"];
    let tls = secret.flags();
    let house = House::start(&[&flags[..], &tls.iter().map(String::as_str).collect::<Vec<_>>()].concat()).await;
    let connect = async || {
        let stream = patiently("connect", UnixStream::connect(&path)).await.unwrap();
        authority.client_of(None, &[b"h2"]).try_over(stream).await.unwrap().into_stream()
    };
    let mut clients = Vec::new();
    for length in (1..=40).map(|number| number * 16 * 1024).chain([1]) {
        let target = format!("/{length}");
        house.origin.reply_at(&target, Reply::pattern(length));
        let fields = USUAL.map(|field| if field.0 == ":path" { (":path", &*target) } else { field });
        let mut client = connect().await;
        // There is room for all of it, on the stream and on the connection.
        let room = [&[0, 4][..], &MUCH.to_be_bytes()].concat();
        let settings = [frame(4, 0, 0, &room), frame(8, 0, 0, &MUCH.to_be_bytes())].concat();
        let request = frame(1, 0x5, 1, &fields_block(&fields));
        client.write_all(&[PREFACE, &settings, &request].concat()).await.unwrap();
        client.flush().await.unwrap();
        clients.push((length, client));
    }
    stands_still("all are on their way", || house.origin.written()).await;
    // The latest is read at once, and idle for so long that it is closed: so are all that are taken for idle.
    let (_, mut latest) = clients.pop().unwrap();
    drop(patiently("the end", latest.read_to_end(&mut Vec::new())).await);
    for (length, mut client) in clients {
        let mut body = Vec::new();
        loop {
            let mut head = [0; 9];
            patiently(&format!("a frame of {length} after {}", body.len()), client.read_exact(&mut head))
                .await
                .unwrap_or_else(|error| panic!("{length}: {error}"));
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            patiently("its payload", client.read_exact(&mut payload)).await.unwrap();
            if head[3] == 0 {
                body.extend(payload);
                if head[4] & 1 == 1 {
                    break;
                }
            }
        }
        assert!(body.len() as u64 == length && is_pattern(0, &body), "{length}");
    }
}
