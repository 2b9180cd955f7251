//! Names of fields that HTTP/2 could carry and HTTP/1.1 could not (RFC 9110 §5.1).

use crate::support::House;
use crate::support::http2::{Frames, USUAL, fields_block, frame};

const NAMES: [&str; 4] = ["x\"a", "\"", "authorization\"", "content\"length"];

/// Status and reason of the answer on the first stream.
async fn refusal(client: &mut Frames) -> String {
    let head = client.next_of(1).await.unwrap();
    assert_eq!(head.stream, 1);
    String::from_utf8(client.next_of(0).await.unwrap().payload).unwrap()
}

#[tokio::test]
async fn a_name_that_no_field_has_is_refused_of_a_client() {
    let house = House::start(&["--skip-auth-route", "/*"]).await;
    for name in NAMES {
        let mut client = Frames::connect(house.gate.addr()).await;
        let fields = USUAL.into_iter().chain([(name, "1")]).collect::<Vec<_>>();
        client.send(&frame(1, 0x5, 1, &fields_block(&fields))).await;
        let refusal = refusal(&mut client).await;
        assert!(refusal.contains("malformed_request"), "{name}: {refusal}");
        // The connection goes on.
        client.send(&frame(1, 0x5, 3, &fields_block(&USUAL))).await;
        assert_eq!(client.next_of(1).await.unwrap().stream, 3, "{name}");
    }
    assert!(house.origin.received().iter().all(|seen| seen.headers.iter().all(|(name, _)| !name.contains('"'))));
}

#[tokio::test]
async fn a_name_that_no_field_has_is_refused_of_trailers() {
    let house = House::start(&["--skip-auth-route", "/*"]).await;
    for name in NAMES {
        let mut client = Frames::connect(house.gate.addr()).await;
        let fields = USUAL.map(|field| if field.0 == ":method" { (":method", "POST") } else { field });
        let fields = fields.into_iter().chain([("trailer", "x-sum")]).collect::<Vec<_>>();
        let body = frame(0, 0, 1, b"data");
        let trailers = frame(1, 0x5, 1, &fields_block(&[("x-sum", "1"), (name, "1")]));
        client.send(&[frame(1, 0x4, 1, &fields_block(&fields)), body, trailers].concat()).await;
        let refusal = refusal(&mut client).await;
        assert!(refusal.contains("malformed_request"), "{name}: {refusal}");
    }
    assert!(house.origin.received().iter().all(|seen| !seen.is_complete));
}

#[tokio::test]
async fn what_looks_odd_and_is_a_name_passes() {
    let house = House::start(&["--skip-auth-route", "/*"]).await;
    let name = "x!#$%&'*+-.^_`|~9";
    let mut client = Frames::connect(house.gate.addr()).await;
    let fields = USUAL.into_iter().chain([(name, "1")]).collect::<Vec<_>>();
    client.send(&frame(1, 0x5, 1, &fields_block(&fields))).await;
    client.next_of(1).await.unwrap();
    assert!(house.origin.only().headers.iter().any(|field| field.0 == name));
}
