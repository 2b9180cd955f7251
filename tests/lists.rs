//! Lists in a head (RFC 9110 §5.6.1): as long as any real one, and no longer, because each member costs work.

use http::{HeaderName, HeaderValue, Request};

use crate::support::http2::{self, Http2};
use crate::support::{Binary, Client, House, Issuer, Origin, Reply, client, eventually};

/// The fields that are read as lists.
const LISTS: [&str; 5] = ["Connection", "Sec-WebSocket-Protocol", "TE", "Trailer", "Upgrade"];
const MOST: usize = 64;

/// So many members.
fn list(count: usize) -> String {
    let members: Vec<_> = (0..count).map(|number| format!("x-{number}")).collect();
    members.join(", ")
}

/// The values of one field, the number of their members, and what they are.
fn values() -> Vec<(Vec<String>, usize, &'static str)> {
    vec![
        (vec![list(MOST)], MOST, "the longest list"),
        (vec![list(MOST + 1)], MOST + 1, "one member more"),
        (vec![list(32), list(32)], 64, "the longest in two fields"),
        (vec![list(32), list(33)], 65, "one member more in two fields"),
        (vec![",".repeat(63)], 64, "the longest list of nothing"),
        (vec![",".repeat(64)], 65, "one comma more"),
        (vec!["z,".repeat(30_000)], 60_001, "a whole head of members"),
        (vec!["x,".repeat(8); 9], 81, "few in each of many fields"),
    ]
}

fn verdict(response: &client::Response) -> (u16, String) {
    let reason = if response.status < 400 { String::new() } else { response.denial().reason };
    (response.status, reason)
}

fn expected(members: usize) -> (u16, String) {
    if members > MOST { (431, "headers_too_large".to_owned()) } else { (200, String::new()) }
}

#[tokio::test]
async fn a_list_in_a_request_that_is_longer_than_any_real_one_is_refused() {
    let house = House::start(&["--skip-auth-route", "/*"]).await;
    for name in LISTS {
        for (values, members, what) in values() {
            let fields = values.iter().map(|value| format!("{name}: {value}\r\n")).collect::<Vec<_>>().concat();
            let response = client::exchange(house.gate.addr(), client::request("GET", "/", None, &fields)).await;
            assert_eq!(verdict(&response), expected(members), "{name}: {what}");
        }
    }
}

#[tokio::test]
async fn a_list_over_http_2_that_is_longer_than_any_real_one_is_refused() {
    let house = House::start(&["--skip-auth-route", "/*"]).await;
    // The others are none of HTTP/2's (RFC 9113 §8.2.2).
    for name in ["sec-websocket-protocol", "trailer"] {
        for (values, members, what) in values() {
            // Beyond 32 KiB it is no list that is too long.
            if values.iter().map(String::len).sum::<usize>() > 16_000 {
                continue;
            }
            let mut request = Request::get("http://gate.test/").body(()).unwrap();
            for value in values {
                request.headers_mut().append(HeaderName::from_static(name), HeaderValue::try_from(value).unwrap());
            }
            let response = Http2::connect(house.gate.addr()).await.exchange(request).await;
            let reason = if response.status < 400 { String::new() } else { http2::reason(&response) };
            assert_eq!((response.status, reason), expected(members), "{name}: {what}");
        }
    }
}

#[tokio::test]
async fn a_list_in_a_response_that_is_longer_than_any_real_one_is_a_502() {
    let house = House::start(&["--skip-auth-route", "/*"]).await;
    for name in ["Connection", "Trailer"] {
        for (values, members, what) in values() {
            let fields = values.iter().map(|value| format!("{name}: {value}\r\n")).collect::<Vec<_>>().concat();
            house.origin.reply_next([Reply::raw(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok"))]);
            let response = client::get(house.gate.addr(), "/", None).await;
            let expected = if members > MOST { (502, "upstream_protocol".to_owned()) } else { (200, String::new()) };
            assert_eq!(verdict(&response), expected, "{name}: {what}");
        }
    }
}

#[tokio::test]
async fn an_interim_response_with_such_a_list_is_not_passed_on() {
    let house = House::start(&["--skip-auth-route", "/*"]).await;
    for (members, interim) in [(MOST, vec![103]), (MOST + 1, vec![])] {
        let hints = format!("HTTP/1.1 103 Early Hints\r\nConnection: {}\r\nLink: </a>\r\n\r\n", list(members));
        house.origin.reply_next([Reply::raw(format!("{hints}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))]);
        let response = client::get(house.gate.addr(), "/", None).await;
        assert_eq!((response.text(), response.interim), ("ok".to_owned(), interim), "{members} members");
    }
}

#[tokio::test]
async fn fields_are_counted_to_the_limit_and_what_is_behind_is_not_looked_at() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let binary = Binary::start(&["--issuer", &issuer.url(), "--upstream", &origin.url()]);
    // What stands behind the hundredth field would be refused for itself.
    for behind in ["a:\r\n".repeat(15_800), "Host: b\r\nno field\r\n".to_owned(), "Content-Length: x\r\n".to_owned()] {
        let fields = format!("{}{behind}", "a:\r\n".repeat(100));
        let response = client::exchange(binary.addr().await, client::request("GET", "/", None, &fields)).await;
        assert_eq!(verdict(&response), (431, "headers_too_large".to_owned()));
    }
    let says = |detail: &str| binary.log().iter().filter(|line| line.to_string().contains(detail)).count();
    eventually("each is logged with the limit", async || says("more than 100 fields") == 3).await;
}

#[tokio::test]
async fn trailers_that_come_byte_by_byte_pass_if_they_were_announced() {
    let house = House::start(&["--skip-auth-route", "/*"]).await;
    let names: Vec<_> = (0..MOST).map(|number| format!("t-{number}")).collect();
    let fields = format!("Transfer-Encoding: chunked\r\nTrailer: {}\r\n", names.join(","));
    let trailers = (0..90).map(|number| format!("T-{number}: v\r\n")).collect::<Vec<_>>().concat();
    let mut client = Client::connect(house.gate.addr()).await;
    client.send(client::request("POST", "/", None, &fields) + "2\r\nok\r\n0\r\n").await;
    for byte in format!("{trailers}\r\n").bytes() {
        client.send([byte]).await;
    }
    assert_eq!(client.response().await.status, 200);
    let received = house.origin.last();
    let arrived: Vec<_> = received.trailers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    assert_eq!(arrived.len(), MOST, "{arrived:?}");
    assert!(names.iter().all(|name| arrived.contains(name)), "{arrived:?}");
}
